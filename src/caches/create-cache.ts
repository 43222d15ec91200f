import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { assertPositive } from './amounts.ts'
import type { Cache, CacheOptions } from './cache.ts'
import { createFifoCache } from './fifo.ts'
import { createLfuCache } from './lfu.ts'
import { createLruCache } from './lru.ts'
import { createMemoize } from './memoize.ts'

/** The policies of eviction by name. */
const POLICIES = { lru: createLruCache, lfu: createLfuCache, fifo: createFifoCache }

export type CachePolicy = keyof typeof POLICIES

export interface CreateCacheOptions<Value> extends CacheOptions<Value> {
  /** `lru`: the value not used for longest leaves first; `lfu`: the one used least; `fifo`: the oldest. */
  readonly policy: CachePolicy
}

/** Builds a cache that evicts by the given policy. Throws CONFIG_INVALID for limits that are no positive numbers. */
export function createCache<Value>({ policy, ...options }: CreateCacheOptions<Value>): Cache<Value> {
  if (!Object.hasOwn(POLICIES, policy)) {
    const names = Object.keys(POLICIES).join(', ')
    throw new OrchestratorError('CONFIG_INVALID', `policy: expected one of ${names}, found ${JSON.stringify(policy)}`)
  }
  const { maxEntries, maxBytes, ttlMs } = options
  assertPositive('maxEntries', maxEntries)
  if (maxBytes !== undefined) assertPositive('maxBytes', maxBytes)
  if (ttlMs !== undefined) assertPositive('ttlMs', ttlMs)
  return createMemoize(POLICIES[policy]<Value>(options))
}
