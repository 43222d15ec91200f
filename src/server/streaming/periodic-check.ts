/** Looks again and again, one look after the other; what a look rejects with is no reason not to look again. */
export function createPeriodicCheck(look: () => Promise<unknown>): () => void {
  let isLooking = false
  return () => {
    if (isLooking) return
    isLooking = true
    // A database that is away for a moment is asked again at the next look.
    void look()
      .catch(() => {})
      .finally(() => {
        isLooking = false
      })
  }
}
