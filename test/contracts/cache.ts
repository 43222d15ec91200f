import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Cache, CacheOptions } from '../../src/caches/cache.ts'

/** The keys of a cache in plain form, from the next one to leave to the last. */
export interface CacheModel {
  /** A key was added, or one that is kept was read or written. */
  readonly use: (keys: readonly string[], key: string) => readonly string[]
}

export interface CacheSuite {
  readonly name: string
  readonly create: <Value>(options: CacheOptions<Value>) => Cache<Value>
  /** A new model for a cache of this size, because the model may count. */
  readonly model: (maxEntries: number) => CacheModel
}

const operation = fc.record({
  kind: fc.constantFrom('get', 'get', 'set', 'set', 'delete'),
  key: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
})

/** The promises of `Cache`, whatever its policy of eviction. */
export function describeCache({ name, create, model: createModel }: CacheSuite): void {
  describe(`a cache with the policy ${name}`, () => {
    test('keeps the values that its policy keeps in plain form', () => {
      fc.assert(
        fc.property(fc.integer({ min: 1, max: 4 }), fc.array(operation, { maxLength: 120 }), (maxEntries, operations) => {
          const cache = create<number>({ maxEntries })
          const model = createModel(maxEntries)
          const values = new Map<string, number>()
          let keys: readonly string[] = []
          let evictions = 0
          for (const [index, { kind, key }] of operations.entries()) {
            if (kind === 'get') {
              expect(cache.get(key)).toBe(values.get(key))
              if (values.has(key)) keys = model.use(keys, key)
            } else if (kind === 'set') {
              const [first] = keys
              if (!values.has(key) && keys.length === maxEntries && first !== undefined) {
                keys = keys.slice(1)
                values.delete(first)
                evictions += 1
              }
              cache.set(key, index)
              values.set(key, index)
              keys = model.use(keys, key)
            } else {
              expect(cache.delete(key)).toBe(values.delete(key))
              keys = keys.filter((known) => known !== key)
            }
            expect(cache.stats()).toMatchObject({ entries: keys.length, evictions })
          }
        }),
      )
    })

    test('forgets a value when its own time or that of the cache is over', () => {
      let now = 1_000
      const cache = create<string>({ maxEntries: 10, ttlMs: 100, now: () => now })
      cache.set('short', 'a', { ttlMs: 10 })
      cache.set('plain', 'b')
      now = 1_010
      expect(cache.get('short')).toBe('a')
      now = 1_011
      expect(cache.get('short')).toBeUndefined()
      expect(cache.get('plain')).toBe('b')
      now = 1_101
      expect(cache.get('plain')).toBeUndefined()
      expect(cache.stats()).toMatchObject({ hits: 2, misses: 2, hitRate: 0.5, evictions: 0, entries: 0 })
    })

    test('never has more bytes than it may, and never keeps a value that is larger than itself', () => {
      const entry = fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd'), size: fc.integer({ min: 1, max: 14 }) })
      fc.assert(
        fc.property(fc.array(entry, { maxLength: 40 }), (entries) => {
          const cache = create<string>({ maxEntries: 100, maxBytes: 10, bytesOf: (text) => text.length })
          for (const { key, size } of entries) {
            const value = 'x'.repeat(size)
            cache.set(key, value)
            expect(cache.get(key)).toBe(size > 10 ? undefined : value)
            const kept = ['a', 'b', 'c', 'd'].map((name) => cache.get(name)?.length ?? 0)
            expect(cache.stats().bytes).toBe(kept.reduce((sum, bytes) => sum + bytes, 0))
            expect(cache.stats().bytes).toBeLessThanOrEqual(10)
          }
          cache.clear()
          expect(cache.stats()).toMatchObject({ bytes: 0, entries: 0 })
        }),
      )
    })

    test('keeps a value that counts as false like any other', () => {
      const cache = create<number | string>({ maxEntries: 10 })
      cache.set('zero', 0)
      cache.set('empty', '')
      expect([cache.get('zero'), cache.get('empty')]).toEqual([0, ''])
    })

    test('serves its values again after it was cleared and filled anew', () => {
      const cache = create<number>({ maxEntries: 2 })
      for (let round = 0; round < 3; round++) {
        for (let key = 0; key < 5; key++) cache.set(String(key), key)
        expect(cache.stats().entries).toBe(2)
        cache.clear()
        expect(cache.stats().entries).toBe(0)
      }
    })
  })
}
