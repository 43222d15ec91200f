/**
 * Wraps a check that a timer calls: calls do not overlap, and a failed check is ignored until the next call, because
 * the database may be unavailable for a moment.
 */
export function createPeriodicCheck(check: () => Promise<unknown>): () => void {
  let isRunning = false
  return () => {
    if (isRunning) return
    isRunning = true
    void check()
      .catch(() => {})
      .finally(() => {
        isRunning = false
      })
  }
}
