import { LRUCache } from 'lru-cache'

export interface FreshCacheOptions {
  /** Milliseconds from the start of a read for which its answer is reused; 0 reads every time. */
  readonly cacheMs: number
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number
}

/** Caches answers of a store for a short time. */
export interface FreshCache<Value> {
  /** The cached answer, or that of `read`. Concurrent callers share one read. */
  get(key: CacheKey, read: () => Promise<Value>): Promise<Value>
  /** Must be called after a write: later calls of `get` read again, even while an older read is still running. */
  drop(key: CacheKey): void
  /** Drops all keys. */
  clear(): void
}

export type CacheKey = readonly [string, string]

interface Entry<Value> {
  readonly value: Promise<Value>
  readonly readAtMs: number
}

const MAX_ENTRIES = 2_000

export function createFreshCache<Value>({ cacheMs, now }: FreshCacheOptions): FreshCache<Value> {
  // The LRU cache allocates memory for all entries at once, so it is created only at the first read.
  let entries: LRUCache<string, Entry<Value>> | undefined
  return {
    get(key, read) {
      entries ??= new LRUCache({ max: MAX_ENTRIES })
      const text = toText(key)
      const known = entries.get(text)
      const readAtMs = now()
      if (known && readAtMs - known.readAtMs < cacheMs) return known.value
      const entry = { value: read(), readAtMs }
      entries.set(text, entry)
      entry.value.catch(() => {
        if (entries?.peek(text) === entry) entries.delete(text)
      })
      return entry.value
    },
    drop: (key) => {
      entries?.delete(toText(key))
    },
    clear: () => {
      entries = undefined
    },
  }
}

/** The length marks where the first id ends, whatever characters the ids contain. */
const toText = ([first, second]: CacheKey): string => `${first.length}:${first}${second}`
