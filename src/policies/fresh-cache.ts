import { LRUCache } from 'lru-cache'

export interface FreshCacheOptions {
  /** Milliseconds from the start of a read during which its answer is given again; 0 reads every time. */
  readonly cacheMs: number
  /** Milliseconds on any clock that only rises. */
  readonly now: () => number
}

/** Answers of a store, for a moment. */
export interface FreshCache<Value> {
  /** Several callers at once share one read. */
  get(key: CacheKey, read: () => Promise<Value>): Promise<Value>
  /** Call after a write: whoever asks from now on gets a new read, also when an older one is still under way. */
  drop(key: CacheKey): void
  /** The same for all keys. */
  clear(): void
}

export type CacheKey = readonly [string, string]

interface Entry<Value> {
  readonly value: Promise<Value>
  readonly readAtMs: number
}

const MAX_ENTRIES = 2_000

export function createFreshCache<Value>({ cacheMs, now }: FreshCacheOptions): FreshCache<Value> {
  // The cache reserves room for all its entries at once: a process that asks nobody should not pay for it.
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

/** The length keeps two ids apart whatever characters they hold. */
const toText = ([first, second]: CacheKey): string => `${first.length}:${first}${second}`
