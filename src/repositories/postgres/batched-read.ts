/**
 * A lookup whose calls share statements: what is asked for while one load is under way goes together in the next. A
 * load never starts before the call, so that everyone sees what was written before they asked.
 */
export function createBatchedRead<Key, Value>(
  load: (keys: readonly Key[]) => Promise<(key: Key) => Value>,
): (key: Key) => Promise<Value> {
  interface Asked {
    readonly key: Key
    readonly resolve: (value: Value) => void
    readonly reject: (error: unknown) => void
  }
  let waiting: Asked[] = []
  let loading = false

  async function loadWaiting(): Promise<void> {
    loading = true
    while (waiting.length > 0) {
      // Lets all calls of this turn of the event loop come along.
      await new Promise<void>((resolve) => setImmediate(resolve))
      const asked = waiting
      waiting = []
      try {
        const valueFor = await load(asked.map(({ key }) => key))
        for (const { key, resolve } of asked) resolve(valueFor(key))
      } catch (error) {
        for (const { reject } of asked) reject(error)
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
