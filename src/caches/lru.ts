import { LRUCache } from 'lru-cache'
import { assertPositive, hitRateOf, sizeOf } from './amounts.ts'
import type { CacheOptions, CacheStore } from './cache.ts'

/** A value in an object, because the library keeps nothing that counts as absent. */
interface Entry<Value> {
  readonly value: Value
}

/** Evicts the value that was not read or written for the longest time. */
export function createLruCache<Value>({ maxEntries, ttlMs, maxBytes, bytesOf, now }: CacheOptions<Value>): CacheStore<Value> {
  let hits = 0
  let misses = 0
  let evictions = 0
  const entries = new LRUCache<string, Entry<Value>>({
    max: maxEntries,
    ...(ttlMs !== undefined && { ttl: ttlMs }),
    ...(maxBytes !== undefined && { maxSize: maxBytes }),
    // The library takes the instant 0 for a value without an end.
    ...(now && { perf: { now: () => now() + 1 } }),
    // Otherwise the library reads the time at most once per millisecond, with a timer of its own.
    ttlResolution: 0,
    dispose(_, __, reason) {
      if (reason === 'evict') evictions += 1
    },
  })

  return {
    get(key) {
      const entry = entries.get(key)
      if (entry) hits += 1
      else misses += 1
      return entry?.value
    },
    set(key, value, options) {
      if (options?.ttlMs !== undefined) assertPositive('ttlMs', options.ttlMs)
      const size = maxBytes === undefined ? 0 : sizeOf(value, bytesOf)
      if (maxBytes !== undefined && size > maxBytes) {
        entries.delete(key)
        return
      }
      const ttl = options?.ttlMs === undefined ? {} : { ttl: options.ttlMs }
      entries.set(key, { value }, maxBytes === undefined ? ttl : { ...ttl, size })
    },
    delete: (key) => entries.delete(key),
    clear: () => entries.clear(),
    stats: () => ({
      entries: entries.size,
      bytes: entries.calculatedSize,
      hits,
      misses,
      hitRate: hitRateOf(hits, misses),
      evictions,
    }),
  }
}
