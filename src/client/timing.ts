import { onAbort } from '../async/on-abort.ts'

export const LONGEST_TIMER_MS = 2_147_483_647
const GRACE_MS = 1_000

/** Calls `run` once after the delay, unless the returned function was called before. `Infinity`: never. */
export function startTimer(delayMs: number, run: () => void): () => void {
  if (delayMs === Number.POSITIVE_INFINITY) return () => {}
  const timer = setTimeout(run, Math.min(delayMs, LONGEST_TIMER_MS))
  return () => clearTimeout(timer)
}

/**
 * The same for silence: before `run` is called there is a moment more, at most a second. A page that was busy or asleep for long finds its timers due
 * before it has read what arrived meanwhile.
 */
export function startIdleTimer(idleTimeoutMs: number, run: () => void): () => void {
  let stop = startTimer(idleTimeoutMs, () => {
    stop = startTimer(Math.min(idleTimeoutMs, GRACE_MS), run)
  })
  return () => stop()
}

/** Must resolve after the delay, or as soon as the signal is aborted. */
export type WaitFor = (delayMs: number, signal: AbortSignal | undefined) => Promise<void>

export const systemWait: WaitFor = (delayMs, signal) =>
  new Promise((resolve) => {
    if (signal?.aborted) return resolve()
    const done = () => {
      clearTimeout(timer)
      unlink?.()
      resolve()
    }
    const timer = setTimeout(done, Math.min(delayMs, LONGEST_TIMER_MS))
    const unlink = signal && onAbort(signal, done)
  })

export interface Backoff {
  /** Upper bound of the first wait; doubles with every further one. */
  readonly baseDelayMs: number
  readonly maxDelayMs: number
}

/**
 * Milliseconds before the next try: half of the bound and a random part of the other half, so that many clients do not come back together; or what
 * the server asked for and a little more. `failures`: how many tries failed in a row, from 1.
 */
export function delayBefore(failures: number, retryAfterMs: number | undefined, backoff: Backoff, random: () => number): number {
  if (retryAfterMs !== undefined) return Math.round(retryAfterMs + random() * backoff.baseDelayMs)
  const bound = Math.min(backoff.maxDelayMs, backoff.baseDelayMs * 2 ** (failures - 1))
  return Math.round((bound / 2) * (1 + random()))
}

/** Milliseconds of a Retry-After header: seconds, or an HTTP date (RFC 9110, 10.2.3). */
export function parseRetryAfter(header: string | null, nowMs: number): number | undefined {
  if (header === null || header.trim() === '') return undefined
  const seconds = Number(header)
  if (Number.isFinite(seconds)) return seconds < 0 ? undefined : seconds * 1_000
  // Date.parse reads nearly anything as a date; HTTP dates name their month.
  const instant = /[A-Za-z]{3}/.test(header) ? Date.parse(header) : Number.NaN
  return Number.isNaN(instant) ? undefined : Math.max(0, instant - nowMs)
}
