/** The source of time, chance and timers; tests pass their own. */
export interface Clock {
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** From 0 up to, not including, 1. */
  readonly random: () => number
  /** Calls `run` once after the delay, unless the returned function was called before. */
  readonly startTimer: (delayMs: number, run: () => void) => StopTimer
}

export type StopTimer = () => void

/** A timer with a longer delay would end at once. */
export const LONGEST_TIMER_MS = 2_147_483_647

export const systemClock: Clock = {
  now: Date.now,
  random: Math.random,
  startTimer: (delayMs, run) => {
    const timer = setTimeout(run, Math.min(delayMs, LONGEST_TIMER_MS))
    return () => clearTimeout(timer)
  },
}

/** Resolves after the delay; rejects with `signal.reason` at once on abort. */
export function wait(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.reject(signal.reason)
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      stopTimer()
      reject(signal.reason)
    }
    const stopTimer = clock.startTimer(delayMs, () => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    })
    signal.addEventListener('abort', onAbort, { once: true })
  })
}
