import { assertPositive } from './amounts.ts'
import { argumentsKey } from './arguments-key.ts'
import type { Cache, CacheStore, MemoizeOptions } from './cache.ts'

/** Adds `memoize` to a store. Calls that run are shared by key, whichever function they came through. */
export function createMemoize<Value>(store: CacheStore<Value>): Cache<Value> {
  const running = new Map<string, Promise<Value>>()

  // A namespace belongs to one function, so the values under its keys are results of that function.
  function memoize<Args extends readonly unknown[], Result extends Value>(
    compute: (...args: Args) => Result | Promise<Result>,
    options: MemoizeOptions<Args>,
  ): (...args: Args) => Promise<Result>
  function memoize<Args extends readonly unknown[]>(
    compute: (...args: Args) => Value | Promise<Value>,
    { namespace, ttlMs, key: keyOf }: MemoizeOptions<Args>,
  ): (...args: Args) => Promise<Value> {
    if (ttlMs !== undefined) assertPositive('ttlMs', ttlMs)
    const prefix = JSON.stringify(namespace)
    return async (...args) => {
      const key = `${prefix}${keyOf ? keyOf(...args) : argumentsKey(namespace, args)}`
      const shared = running.get(key)
      if (shared) return shared
      const kept = store.get(key)
      if (kept !== undefined) return kept
      const call = start(() => compute(...args))
      running.set(key, call)
      try {
        const result = await call
        // `clear` and `delete` remove the call, because its result may be older than the change that caused them.
        if (result !== undefined && running.get(key) === call) store.set(key, result, ttlMs === undefined ? {} : { ttlMs })
        return result
      } finally {
        if (running.get(key) === call) running.delete(key)
      }
    }
  }

  return {
    ...store,
    delete(key) {
      running.delete(key)
      return store.delete(key)
    },
    clear() {
      running.clear()
      store.clear()
    },
    memoize,
  }
}

/** A call that throws at once rejects like any other. */
const start = async <Result>(compute: () => Result | Promise<Result>): Promise<Result> => compute()
