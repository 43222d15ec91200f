import type { TokenBucket } from 'limiter'
import type { Clock, StopTimer } from '../async/clock.ts'
import type { OrchestratorError } from '../errors/orchestrator-error.ts'

/** Rates of one provider; no limit where a rate is absent. */
export interface Rates {
  /** Maximum number of concurrent requests. */
  readonly maxConcurrency?: number
  readonly requestsPerMinute?: number
  readonly tokensPerMinute?: number
}

/** The FIFO queue of the requests to one provider. */
export interface Gate {
  /**
   * Resolves when the rates allow one more request of `tokens` tokens. Rejects with `signal.reason` at once on abort.
   * `onClosed` is called where other processes can close the account, with the milliseconds that it is closed for; the
   * error that it returns ends the wait.
   */
  enter(tokens: number, signal: AbortSignal, onClosed?: (leftMs: number) => OrchestratorError | undefined): Promise<Pass>
}

export interface Pass {
  /** Replaces the tokens taken at entry by those used. */
  correct(usedTokens: number | undefined): void
  leave(): void
}

interface Waiter {
  readonly tokens: number
  readonly admit: () => void
}

// p-limit cannot remove one waiter from its queue and limiter's own waits cannot be aborted, so the queue is written
// here and limiter keeps the token buckets.
export async function createGate({ maxConcurrency = Number.POSITIVE_INFINITY, ...rates }: Rates, clock: Clock): Promise<Gate> {
  const requests = await createBucket(rates.requestsPerMinute)
  const tokens = await createBucket(rates.tokensPerMinute)
  const queue = new Set<Waiter>()
  let running = 0
  let stopTimer: StopTimer | undefined

  const admitNext = () => {
    stopTimer?.()
    stopTimer = undefined
    for (const waiter of queue) {
      if (running >= maxConcurrency) return
      const waitMs = Math.max(requests?.getWaitTime(1) ?? 0, tokens?.getWaitTime(waiter.tokens) ?? 0)
      if (waitMs > 0) {
        stopTimer = clock.startTimer(waitMs, admitNext)
        return
      }
      requests?.tryRemoveTokens(1)
      tokens?.tryRemoveTokens(waiter.tokens)
      queue.delete(waiter)
      running += 1
      waiter.admit()
    }
  }

  const createPass = (taken: number): Pass => ({
    correct(usedTokens) {
      if (tokens && usedTokens !== undefined) tokens.content = Math.min(tokens.bucketSize, tokens.content + taken - usedTokens)
    },
    leave() {
      running -= 1
      admitNext()
    },
  })

  return {
    enter(wanted, signal) {
      if (signal.aborted) return Promise.reject(signal.reason)
      // TokenBucket throws on a request larger than its size.
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
  // A bucket smaller than 1 could never hold one request.
  const bucket = new TokenBucket({ bucketSize: Math.max(1, perMinute), tokensPerInterval: perMinute, interval: 'minute' })
  bucket.content = bucket.bucketSize
  return bucket
}
