/**
 * Runs work under a key: one at a time per key, in the order of the calls. Work under different keys runs concurrently.
 */
export type KeyedMutex = <Value>(key: string, work: () => Promise<Value>) => Promise<Value>

/** A failure rejects for its own caller only; the next work under the same key still runs. */
export function createKeyedMutex(): KeyedMutex {
  const newest = new Map<string, Promise<unknown>>()
  return async (key, work) => {
    const outcome = (newest.get(key) ?? Promise.resolve()).then(work, work)
    newest.set(key, outcome)
    try {
      return await outcome
    } finally {
      if (newest.get(key) === outcome) newest.delete(key)
    }
  }
}
