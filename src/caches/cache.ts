/**
 * A bounded store in the memory of this process. Implemented by `createCache`, one file per policy of eviction; all of
 * them pass the suite `test/contracts/cache.ts`.
 */
export interface CacheStore<Value> {
  /** The value; `undefined` if it is missing, or if its time is over. */
  get(key: string): Value | undefined
  /**
   * Keeps a value, for `ttlMs` in place of the time of the cache. With `maxBytes`, a value that is larger than the
   * whole cache is not kept, nor one whose size cannot be known, such as one that contains itself. Throws
   * CONFIG_INVALID for a `ttlMs` that is not a whole number from 1.
   */
  set(key: string, value: Value, options?: { readonly ttlMs?: number }): void
  /** Whether there was a value. */
  delete(key: string): boolean
  clear(): void
  stats(): CacheStats
}

/** A store that also keeps the results of functions. */
export interface Cache<Value> extends CacheStore<Value> {
  /**
   * Wraps a function: a call with equal arguments gets the result that is kept. Calls with equal arguments at the same
   * time share one call of the function. A rejected call, a call that throws and the result `undefined` are not kept.
   *
   * Values that `clear` or `delete` removes while their call still runs are not kept when it ends.
   *
   * The returned function rejects with INPUT_INVALID for arguments that have no key: functions, symbols, and objects
   * with a prototype other than dates, for which `key` must be given.
   *
   * ```ts
   * import { createCache } from 'polyphony'
   *
   * const cache = createCache<string>({ policy: 'lfu', maxEntries: 1_000 })
   * const greet = cache.memoize(async (name: string) => `Hello ${name}`, { namespace: 'greetings', ttlMs: 60_000 })
   * console.log(await greet('Ada'), cache.stats().hitRate)
   * ```
   */
  memoize<Args extends readonly unknown[], Result extends Value>(
    compute: (...args: Args) => Result | Promise<Result>,
    options: MemoizeOptions<Args>,
  ): (...args: Args) => Promise<Result>
}

export interface MemoizeOptions<Args extends readonly unknown[]> {
  /** Separates the results of this function from all other values of the cache; one namespace per function. */
  readonly namespace: string
  /** Milliseconds for which a result is kept; default: the time of the cache. */
  readonly ttlMs?: number
  /** Text that is equal for equal arguments. Default: their JSON with names in alphabetical order. */
  readonly key?: (...args: Args) => string
}

export interface CacheStats {
  readonly entries: number
  /** Sum of the sizes of all values; 0 without `maxBytes`. */
  readonly bytes: number
  readonly hits: number
  readonly misses: number
  /** Hits as a share of all reads, from 0 to 1; 0 before the first read. */
  readonly hitRate: number
  /** Values that were removed to make space for others. */
  readonly evictions: number
}

export interface CacheOptions<Value> {
  /** Number of values that are kept; the policy decides which one leaves first. At least 1. */
  readonly maxEntries: number
  /** Milliseconds for which a value is kept; default: without limit. */
  readonly ttlMs?: number
  /** Sum of the sizes of all values; default: without limit. */
  readonly maxBytes?: number
  /** Size of a value in bytes, for `maxBytes`; called once per `set`. Default: the size of its JSON. */
  readonly bytesOf?: (value: Value) => number
  /** Milliseconds from any instant; default: those of the process. */
  readonly now?: () => number
}
