import { expect, test } from 'vitest'
import { createCache } from '../../src/caches/create-cache.ts'
import { describeCache } from '../contracts/cache.ts'

const last = (keys: readonly string[], key: string) => [...keys.filter((known) => known !== key), key]

describeCache({
  name: 'lru',
  create: (options) => createCache({ policy: 'lru', ...options }),
  model: () => ({ use: last }),
})

describeCache({
  name: 'fifo',
  create: (options) => createCache({ policy: 'fifo', ...options }),
  model: () => ({ use: (keys, key) => (keys.includes(key) ? keys : [...keys, key]) }),
})

describeCache({
  name: 'lfu',
  create: (options) => createCache({ policy: 'lfu', ...options }),
  model(maxEntries) {
    const counts = new Map<string, number>()
    const countOf = (key: string) => counts.get(key) ?? 0
    let uses = 0
    return {
      use(keys, key) {
        counts.set(key, keys.includes(key) ? countOf(key) + 1 : 1)
        // The sort is stable, so equal counts stay in order of use.
        const sorted = last(keys, key).sort((left, right) => countOf(left) - countOf(right))
        uses += 1
        if (uses === 10 * maxEntries) {
          uses = 0
          for (const known of sorted) counts.set(known, Math.floor(countOf(known) / 2))
        }
        return sorted
      },
    }
  },
})

test('limits that are no whole numbers from 1 are refused', () => {
  for (const options of [{ maxEntries: 0 }, { maxEntries: 1.5 }, { maxEntries: 1, ttlMs: -1 }, { maxEntries: 1, maxBytes: 0 }]) {
    expect(() => createCache({ policy: 'lfu', ...options })).toThrow(/expected a whole number from 1/)
  }
})
