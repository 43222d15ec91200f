import { expect, test } from 'vitest'
import { createCache } from '../../src/caches/create-cache.ts'

const POLICIES = ['lru', 'lfu', 'fifo'] as const
const circular: Record<string, unknown> = {}
circular.self = circular

test.each(POLICIES)('%s: a value whose size cannot be known is not kept, and replaces the one before it', (policy) => {
  const cache = createCache<unknown>({ policy, maxEntries: 10, maxBytes: 1_000 })
  for (const [key, value] of [
    ['circular', circular],
    ['big', 1n],
  ] as const) {
    cache.set(key, 'before')
    cache.set(key, value)
    expect(cache.get(key)).toBeUndefined()
  }
  expect(cache.stats()).toMatchObject({ entries: 0, bytes: 0 })
  const strange = createCache<number>({ policy, maxEntries: 10, maxBytes: 10, bytesOf: (bytes) => bytes })
  for (const bytes of [Number.NaN, 0.5, -3, Number.POSITIVE_INFINITY]) strange.set(String(bytes), bytes)
  expect(strange.stats()).toMatchObject({ entries: 2, bytes: 2 })
})

test.each(POLICIES)('%s: time counts from any instant, 0 included', (policy) => {
  let now = 0
  const cache = createCache<string>({ policy, maxEntries: 10, ttlMs: 10, now: () => now })
  cache.set('a', 'value')
  now = 10
  expect(cache.get('a')).toBe('value')
  now = 11
  expect(cache.get('a')).toBeUndefined()
})

test.each(POLICIES)('%s: times that are no positive whole numbers are refused wherever they are given', (policy) => {
  const cache = createCache<string>({ policy, maxEntries: 10 })
  for (const ttlMs of [0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    const refused = expect.objectContaining({ code: 'CONFIG_INVALID' })
    expect(() => cache.set('a', 'value', { ttlMs })).toThrow(refused)
    expect(() => cache.memoize(() => 'value', { namespace: 'n', ttlMs })).toThrow(refused)
  }
  expect(cache.stats().entries).toBe(0)
})

test.each(POLICIES)('%s: a result of undefined takes no space from other values', async (policy) => {
  const cache = createCache<string | undefined>({ policy, maxEntries: 1 })
  cache.set('kept', 'value')
  await cache.memoize(() => undefined, { namespace: 'n' })()
  expect(cache.get('kept')).toBe('value')
})

test('lists with holes and objects with symbols as names do not share the results of others', async () => {
  let calls = 0
  const memoized = createCache<number>({ policy: 'lru', maxEntries: 10 }).memoize((..._: readonly unknown[]) => ++calls, {
    namespace: 'n',
  })
  expect([await memoized([]), await memoized(new Array(1)), await memoized([undefined])]).toEqual([1, 2, 2])
  await expect(memoized({ [Symbol('hidden')]: 1 })).rejects.toMatchObject({ code: 'INPUT_INVALID' })
})

test.each([1, 2])('lfu with %i entries ages, so that a value that was popular once leaves', (maxEntries) => {
  const cache = createCache<string>({ policy: 'lfu', maxEntries })
  cache.set('popular', 'value')
  for (let use = 0; use < 1_000; use++) cache.get('popular')
  for (let round = 0; round < 200; round++) {
    cache.set('new', 'value')
    cache.get('new')
    cache.set('other', 'value')
    expect(cache.stats().entries).toBeLessThanOrEqual(maxEntries)
  }
  expect(cache.get('popular')).toBeUndefined()
})
