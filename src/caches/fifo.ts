import type { CacheOptions, CacheStore } from './cache.ts'
import { createOrderedCache } from './ordered-cache.ts'

/** Evicts the value whose key came first. A use changes nothing, and neither does a new value of the same key. */
export function createFifoCache<Value>(options: CacheOptions<Value>): CacheStore<Value> {
  const keys = new Set<string>()
  return createOrderedCache(
    {
      add: (key) => void keys.add(key),
      use: () => {},
      remove: (key) => void keys.delete(key),
      clear: () => keys.clear(),
      next: () => keys.values().next().value,
    },
    options,
  )
}
