import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../../async/clock.ts'
import { stableEndsOf } from '../../domain/execution/model-call.ts'
import type { AttemptCall, AttemptContext, CallLayer, CallResponse, PreparedRequest } from '../call.ts'

/** Vendors keep an unused beginning for five minutes at least; it is taken for lost a minute before. */
const KEPT_MS = 240_000
const MAX_KEPT = 1_000
/**
 * No request waits longer for another one. Without a stream it is not known when the answer begins, but after this time
 * the vendor has very likely read the prompt.
 */
const MAX_WAIT_MS = { streamed: 30_000, plain: 5_000 }
/** Nor longer than this share of the time it has left. */
const MAX_WAIT_SHARE = 0.25

/**
 * Lets one of several requests with the same stable beginning start first. A vendor can read a beginning from its cache
 * when the answer to the request that brought it begins: at the first chunk of a stream, else with the answer. If that
 * request fails, the next one takes over. Requests without a stable beginning never wait.
 */
export const sharedBeginnings = (clock: Clock): CallLayer => {
  /** By key, when a beginning that a vendor holds is taken for lost, in milliseconds since the epoch. */
  const cached = new LRUCache<string, number>({ max: MAX_KEPT })
  /** Requests whose answer is not there yet, by the keys of their beginnings. */
  const leaders = new Map<string, Promise<void>>()

  return (next) => (request, context) => {
    const keys = keysOf(request)
    return keys.length === 0 ? next(request, context) : start(next, request, context, keys)
  }

  async function start(
    next: AttemptCall,
    request: PreparedRequest,
    context: AttemptContext,
    keys: readonly string[],
  ): Promise<CallResponse> {
    const settle = await takeTurn(keys, context)
    const onActivity = () => {
      settle(true)
      context.onActivity?.()
    }
    try {
      const response = await next(request, { ...context, onActivity })
      settle(true)
      return response
    } finally {
      settle(false)
    }
  }

  /**
   * Waits for requests that bring a part of the beginning. Resolves with the function that must be called with `true`
   * when the answer begins, and with `false` when the request has ended.
   */
  async function takeTurn(keys: readonly string[], { signal, progress, onDelta }: AttemptContext) {
    const now = clock.now()
    const waitMs = Math.min(
      onDelta ? MAX_WAIT_MS.streamed : MAX_WAIT_MS.plain,
      ((progress.endsAtMs ?? Number.POSITIVE_INFINITY) - now) * MAX_WAIT_SHARE,
    )
    for (let leader = leaderOf(keys); leader && clock.now() < now + waitMs; leader = leaderOf(keys)) {
      await waitFor(leader, now + waitMs - clock.now(), signal)
    }
    return lead(keys)
  }

  /** The request to wait for; undefined where none brings a longer part than the vendor holds. */
  function leaderOf(keys: readonly string[]): Promise<void> | undefined {
    for (const key of keys) {
      if (isCached(key)) return undefined
      const leader = leaders.get(key)
      if (leader) return leader
    }
    return undefined
  }

  function isCached(key: string): boolean {
    return (cached.get(key) ?? 0) > clock.now()
  }

  function lead(keys: readonly string[]): (isCachedNow: boolean) => void {
    const own = keys.filter((key) => !isCached(key) && !leaders.has(key))
    let release = () => {}
    const ended = new Promise<void>((resolve) => {
      release = resolve
    })
    for (const key of own) leaders.set(key, ended)
    let isOpen = true
    return (isCachedNow) => {
      if (!isOpen) return
      isOpen = false
      for (const key of own) leaders.delete(key)
      if (isCachedNow) for (const key of keys) cached.set(key, clock.now() + KEPT_MS)
      release()
    }
  }

  /** Resolves with the leader or after the limit; rejects with `signal.reason` on abort. */
  function waitFor(leader: Promise<void>, limitMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void) => {
        stopTimer()
        signal.removeEventListener('abort', onAbort)
        settle()
      }
      const onAbort = () => end(() => reject(signal.reason))
      const stopTimer = clock.startTimer(limitMs, () => end(resolve))
      if (signal.aborted) onAbort()
      else signal.addEventListener('abort', onAbort, { once: true })
      void leader.then(() => end(resolve))
    })
  }
}

/** One key for each stable beginning of a request at its account, the longest first. */
function keysOf(request: PreparedRequest): readonly string[] {
  const { messages, provider, account, model, system, tools, hostedTools, toolChoice, outputSchema, settings } = request
  const { cacheKey } = request
  if (!messages.some((message) => stableEndsOf(message).length > 0)) return NO_KEYS
  // With the key of the cache, so that no user waits for another one.
  const head = [cacheKey, provider, account, model, system, tools, hostedTools, toolChoice, outputSchema, settings.reasoning]
  const hash = createHash('sha256').update(JSON.stringify(head))
  const keys: string[] = []
  for (const message of messages) {
    const { role, content } = message
    hash.update(`\0${role}\0${JSON.stringify(message.role === 'assistant' ? message.toolCalls : message.files) ?? ''}\0`)
    let start = 0
    for (const end of stableEndsOf(message)) {
      hash.update(content.slice(start, end))
      keys.unshift(hash.copy().digest('base64'))
      start = end
    }
    hash.update(content.slice(start))
  }
  return keys
}

const NO_KEYS: readonly string[] = []
