/** Numbers that order what this process records: microseconds since 1970, each above the one before. */
export function createRecordedClock(now: () => number): () => number {
  let last = 0
  return () => {
    last = Math.max(last + 1, now() * 1_000)
    return last
  }
}
