/**
 * A lookup whose calls share statements: keys that are requested while one statement runs go together into the next.
 * A statement never starts before the call, so every caller sees all data that was durable when it called.
 */
export function createBatchedRead<Key, Value>(
  load: (keys: readonly Key[]) => Promise<(key: Key) => Value>,
): (key: Key) => Promise<Value> {
  interface Request {
    readonly key: Key
    readonly resolve: (value: Value) => void
    readonly reject: (error: unknown) => void
  }
  let waiting: Request[] = []
  let loading = false

  async function loadWaiting(): Promise<void> {
    loading = true
    while (waiting.length > 0) {
      // Collects all calls of this turn of the event loop.
      await new Promise<void>((resolve) => setImmediate(resolve))
      const requests = waiting
      waiting = []
      try {
        const valueFor = await load(requests.map(({ key }) => key))
        for (const { key, resolve } of requests) resolve(valueFor(key))
      } catch (error) {
        for (const { reject } of requests) reject(error)
      }
    }
    loading = false
  }

  return (key) =>
    new Promise((resolve, reject) => {
      waiting.push({ key, resolve, reject })
      if (!loading) void loadWaiting()
    })
}
