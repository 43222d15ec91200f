import type { Cache } from '../../caches/cache.ts'

/** Arguments of functions of the user. It has the unchecked type of `JSON.parse`, so that they need no annotation. */
type OwnData = ReturnType<typeof JSON.parse>

export interface CacheSetOptions {
  /** Milliseconds; default: `ttl` of `cacheConfig`. */
  readonly ttl?: number
  readonly namespace?: string
}

export interface CacheMemoizeOptions<Given extends readonly unknown[]> {
  /** Keeps the results apart from those of other functions; default: one of its own per memoized function. */
  readonly namespace?: string
  /** Milliseconds; default: `ttl` of `cacheConfig`. */
  readonly ttl?: number
  /** Text that is equal for equal arguments; default: their JSON. */
  readonly key?: (...given: Given) => string
}

export interface OrchestratorCacheStats {
  readonly size: number
  readonly hits: number
  readonly misses: number
  readonly evictions: number
  /** From 0 to 1; 0 before the first read. */
  readonly hitRate: number
}

export interface OrchestratorCacheDeps {
  readonly cache: Cache<unknown>
  readonly maxEntries: number
  /** The key of the arguments of a memoized call. */
  argumentsKey(namespace: string, given: readonly unknown[]): string
}

/** The same form as the keys of memoized calls, so that one pattern finds both. */
const prefixOf = (namespace = ''): string => JSON.stringify(namespace)

/** The cache of an orchestrator: values of its user, and results of memoized functions. */
export function createOrchestratorCache({ cache, maxEntries, argumentsKey }: OrchestratorCacheDeps) {
  let memoized = 0
  /** The namespace and the name of every key. Some have left the cache, so the oldest are forgotten first. */
  const keys = new Map<string, { readonly namespace: string; readonly name: string }>()

  function remember(namespace: string, name: string): string {
    const key = `${prefixOf(namespace)}${name}`
    keys.delete(key)
    keys.set(key, { namespace, name })
    const oldest = keys.keys().next().value
    // A value whose key is forgotten could no longer be found by a pattern.
    if (keys.size > maxEntries * 4 && oldest !== undefined) remove(oldest)
    return key
  }

  function remove(key: string): boolean {
    keys.delete(key)
    return cache.delete(key)
  }

  return {
    set(key: string, value: unknown, { ttl, namespace = '' }: CacheSetOptions = {}): void {
      cache.set(remember(namespace, key), value, ttl === undefined ? {} : { ttlMs: ttl })
    },
    /** `undefined` if there is no value, or if its time is over. */
    get: (key: string, namespace = ''): unknown => cache.get(`${prefixOf(namespace)}${key}`),
    /** Whether there was a value. */
    delete: (key: string, namespace = ''): boolean => remove(`${prefixOf(namespace)}${key}`),
    clear(): void {
      keys.clear()
      cache.clear()
    },
    /**
     * Removes every value whose key fits: a whole text with `*` for any characters, or a regular expression that finds
     * a part of it. Returns their number. Without a namespace it searches all of them.
     */
    invalidatePattern(pattern: string | RegExp, namespace?: string): number {
      const fits = toTest(pattern)
      const found = [...keys].filter(([, key]) => (namespace === undefined || key.namespace === namespace) && fits(key.name))
      return found.filter(([key]) => remove(key)).length
    },
    /**
     * The function, which runs once for equal arguments as long as its result is kept. Calls at the same time share one
     * run; an error is not kept.
     */
    memoize<Given extends readonly OwnData[], Result>(
      run: (...given: Given) => Result | Promise<Result>,
      { namespace = `function-${++memoized}`, ttl, key }: CacheMemoizeOptions<Given> = {},
    ): (...given: Given) => Promise<Result> {
      const nameOf = (...given: Given): string => {
        const name = key ? key(...given) : argumentsKey(namespace, given)
        remember(namespace, name)
        return name
      }
      return cache.memoize(run, { namespace, key: nameOf, ...(ttl !== undefined && { ttlMs: ttl }) })
    },
    stats(): OrchestratorCacheStats {
      const { entries, hits, misses, hitRate, evictions } = cache.stats()
      return { size: entries, hits, misses, hitRate, evictions }
    },
  }
}

export type OrchestratorCache = ReturnType<typeof createOrchestratorCache>

function toTest(pattern: string | RegExp): (name: string) => boolean {
  if (pattern instanceof RegExp) {
    // A global or sticky expression would begin each test where the last one ended.
    const stateless = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ''))
    return (name) => stateless.test(name)
  }
  const parts = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  const whole = new RegExp(`^${parts.join('.*')}$`, 's')
  return (name) => whole.test(name)
}
