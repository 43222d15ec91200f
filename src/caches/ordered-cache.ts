import { assertPositive, hitRateOf, sizeOf } from './amounts.ts'
import type { CacheOptions, CacheStore } from './cache.ts'

/** Which value leaves first; it knows keys only. All methods must take about the same time for any number of keys. */
export interface EvictionOrder {
  add(key: string): void
  /** A value that is kept was read or replaced. */
  use(key: string): void
  remove(key: string): void
  clear(): void
  /** The key that leaves next. Called only while there is one. */
  next(): string | undefined
}

interface Entry<Value> {
  readonly value: Value
  readonly bytes: number
  /** Time up to which the value is kept, the end included. */
  readonly untilMs: number
}

/** A cache in the given order of eviction. A value whose time is over is removed when it is read or evicted. */
export function createOrderedCache<Value>(order: EvictionOrder, options: CacheOptions<Value>): CacheStore<Value> {
  const { maxEntries, ttlMs, maxBytes, bytesOf, now = () => performance.now() } = options
  const entries = new Map<string, Entry<Value>>()
  let bytes = 0
  let hits = 0
  let misses = 0
  let evictions = 0

  const remove = (key: string): boolean => {
    const entry = entries.get(key)
    if (!entry) return false
    entries.delete(key)
    order.remove(key)
    bytes -= entry.bytes
    return true
  }
  const evict = () => {
    const key = order.next()
    if (key === undefined) return false
    evictions += 1
    return remove(key)
  }
  const isOver = (more: number) => maxBytes !== undefined && bytes + more > maxBytes

  return {
    get(key) {
      const entry = entries.get(key)
      if (entry && entry.untilMs >= now()) {
        hits += 1
        order.use(key)
        return entry.value
      }
      if (entry) remove(key)
      misses += 1
      return undefined
    },
    set(key, value, given) {
      if (given?.ttlMs !== undefined) assertPositive('ttlMs', given.ttlMs)
      const size = maxBytes === undefined ? 0 : sizeOf(value, bytesOf)
      if (maxBytes !== undefined && size > maxBytes) {
        remove(key)
        return
      }
      const lifetimeMs = given?.ttlMs ?? ttlMs
      const entry = { value, bytes: size, untilMs: lifetimeMs === undefined ? Number.POSITIVE_INFINITY : now() + lifetimeMs }
      const known = entries.get(key)
      if (known && !isOver(size - known.bytes)) {
        bytes += size - known.bytes
        order.use(key)
        entries.set(key, entry)
        return
      }
      // A value that has become too large for the space of the old one counts as new, so that it is not evicted itself.
      if (known) remove(key)
      while ((entries.size >= maxEntries || isOver(size)) && evict());
      entries.set(key, entry)
      order.add(key)
      bytes += size
    },
    delete: remove,
    clear() {
      entries.clear()
      order.clear()
      bytes = 0
    },
    stats: () => ({ entries: entries.size, bytes, hits, misses, hitRate: hitRateOf(hits, misses), evictions }),
  }
}
