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
