import type { TokenBucket } from 'limiter'
import type { Clock, StopTimer } from '../async/clock.ts'

export interface Rates {
  /** Requests under way at once. */
  readonly maxConcurrency?: number
  readonly requestsPerMinute?: number
  readonly tokensPerMinute?: number
}

/** The queue in front of one provider: first come, first served. */
export interface Gate {
  /** Resolves when a slot, a request and the tokens are free. Rejects with `signal.reason` at once on abort. */
  enter(tokens: number, signal: AbortSignal): Promise<Pass>
}

export interface Pass {
  /** Replaces the tokens that were taken by those really used. */
  correct(usedTokens: number | undefined): void
  leave(): void
}

interface Waiter {
  readonly tokens: number
  readonly admit: () => void
}

// p-limit cannot take one waiter out of its queue and limiter's own waits cannot be aborted, so the queue is ours and limiter keeps the figures.
export async function createGate({ maxConcurrency = Number.POSITIVE_INFINITY, ...rates }: Rates, clock: Clock): Promise<Gate> {
  const requests = await createBucket(rates.requestsPerMinute)
  const tokens = await createBucket(rates.tokensPerMinute)
  const queue = new Set<Waiter>()
  let underWay = 0
  let stopTimer: StopTimer | undefined

  const admitNext = () => {
    stopTimer?.()
    stopTimer = undefined
    for (const waiter of queue) {
      if (underWay >= maxConcurrency) return
      const waitMs = Math.max(requests?.getWaitTime(1) ?? 0, tokens?.getWaitTime(waiter.tokens) ?? 0)
      if (waitMs > 0) {
        stopTimer = clock.startTimer(waitMs, admitNext)
        return
      }
      requests?.tryRemoveTokens(1)
      tokens?.tryRemoveTokens(waiter.tokens)
      queue.delete(waiter)
      underWay += 1
      waiter.admit()
    }
  }

  const createPass = (taken: number): Pass => ({
    correct(usedTokens) {
      if (tokens && usedTokens !== undefined) tokens.content = Math.min(tokens.bucketSize, tokens.content + taken - usedTokens)
    },
    leave() {
      underWay -= 1
      admitNext()
    },
  })

  return {
    enter(wanted, signal) {
      if (signal.aborted) return Promise.reject(signal.reason)
      // The bucket throws on a request that is larger than itself.
      const taken = tokens ? Math.min(wanted, tokens.bucketSize) : 0
      return new Promise((resolve, reject) => {
        const onAbort = () => {
          queue.delete(waiter)
          reject(signal.reason)
          admitNext()
        }
        const waiter: Waiter = {
          tokens: taken,
          admit: () => {
            signal.removeEventListener('abort', onAbort)
            resolve(createPass(taken))
          },
        }
        signal.addEventListener('abort', onAbort, { once: true })
        queue.add(waiter)
        admitNext()
      })
    },
  }
}

async function createBucket(perMinute: number | undefined): Promise<TokenBucket | undefined> {
  if (perMinute === undefined) return undefined
  const { TokenBucket } = await import('limiter')
  // Below 1 per minute a bucket of that size could never hold one request.
  const bucket = new TokenBucket({ bucketSize: Math.max(1, perMinute), tokensPerInterval: perMinute, interval: 'minute' })
  bucket.content = bucket.bucketSize
  return bucket
}
