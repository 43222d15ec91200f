import { LONGEST_TIMER_MS } from '../async/clock.ts'
import { onAbort } from '../async/on-abort.ts'

const GRACE_MS = 1_000

/** Calls `run` once after the delay, unless the returned function is called first. A delay of `Infinity` never ends. */
export function startTimer(delayMs: number, run: () => void): () => void {
  if (delayMs === Number.POSITIVE_INFINITY) return () => {}
  const timer = setTimeout(run, Math.min(delayMs, LONGEST_TIMER_MS))
  return () => clearTimeout(timer)
}

/**
 * Like `startTimer`, with a grace period of at most one second before `run` is called. In a page that was busy or
 * asleep, timers are due before the data that arrived meanwhile is read.
 */
export function startIdleTimer(idleTimeoutMs: number, run: () => void): () => void {
  let stop = startTimer(idleTimeoutMs, () => {
    stop = startTimer(Math.min(idleTimeoutMs, GRACE_MS), run)
  })
  return () => stop()
}

/** Waits. Must resolve after the delay or as soon as the signal is aborted, and must not reject. */
export type WaitFor = (delayMs: number, signal: AbortSignal | undefined) => Promise<void>

/** Waits with a timer of the platform. */
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
  /** Upper bound on the first wait; doubles with each further wait. */
  readonly baseDelayMs: number
  /** Upper bound on every wait. */
  readonly maxDelayMs: number
}

/**
 * Milliseconds before the next attempt: half of the bound and a random part of the other half, so that many clients do
 * not return at the same moment; or the wait that the server requested and a random part of `baseDelayMs`. `failures`:
 * number of failed attempts in a row, from 1.
 */
export function delayBefore(failures: number, retryAfterMs: number | undefined, backoff: Backoff, random: () => number): number {
  if (retryAfterMs !== undefined) return Math.round(retryAfterMs + random() * backoff.baseDelayMs)
  const bound = Math.min(backoff.maxDelayMs, backoff.baseDelayMs * 2 ** (failures - 1))
  return Math.round((bound / 2) * (1 + random()))
}

/** Reads a Retry-After header, in seconds or as an HTTP date (RFC 9110, 10.2.3), as milliseconds from now. */
export function parseRetryAfter(header: string | null, nowMs: number): number | undefined {
  if (header === null || header.trim() === '') return undefined
  const seconds = Number(header)
  if (Number.isFinite(seconds)) return seconds < 0 ? undefined : seconds * 1_000
  // Date.parse accepts nearly any text; an HTTP date contains the name of a month.
  const instant = /[A-Za-z]{3}/.test(header) ? Date.parse(header) : Number.NaN
  return Number.isNaN(instant) ? undefined : Math.max(0, instant - nowMs)
}
