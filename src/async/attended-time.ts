/** A wait of 4 ms or more has at least this many slices, so that the event loop reads between its begin and its end. */
const SLICES = 4
const LONGEST_SLICE_MS = 1_000

/**
 * Milliseconds of one slice of a wait for somebody else. A timer that is due runs before the data that arrived
 * meanwhile is read, so a process that was late would take an answer for missing that only it has not read. Therefore
 * such a wait is counted in slices, and a slice that took longer counts as one.
 */
export const sliceMs = (waitMs: number): number => Math.max(1, Math.min(Math.floor(waitMs / SLICES), LONGEST_SLICE_MS))

/**
 * Like `setInterval`, but time in which the event loop was late does not count, see `sliceMs`. Does not keep the
 * process alive. Returns the function that stops it.
 */
export function startAttendedInterval(everyMs: number, run: () => void): () => void {
  const slices = Math.max(1, Math.ceil(everyMs / sliceMs(everyMs)))
  let passed = 0
  const timer = setInterval(() => {
    if (++passed < slices) return
    passed = 0
    run()
  }, everyMs / slices).unref()
  return () => clearInterval(timer)
}
