import { expect, test } from 'vitest'
import { type CachePolicy, createCache } from '../../src/caches/create-cache.ts'

const KEYS = 10_000
const ENTRIES = 500
const READS = 100_000

/** Numbers from 0 to 1, the same in every run. */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** Ranks from 0 to `KEYS` by Zipf's law: the key of rank r is read in proportion to 1 / r. */
function createRanks(random: () => number): () => number {
  const sums: number[] = []
  let sum = 0
  for (let rank = 1; rank <= KEYS; rank++) {
    sum += 1 / rank
    sums.push(sum)
  }
  return () => {
    const wanted = random() * sum
    let low = 0
    for (let high = sums.length - 1; low < high; ) {
      const middle = (low + high) >> 1
      if ((sums[middle] ?? 0) < wanted) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** The popular keys are others in the second half. */
function* shiftedReads(): Generator<number> {
  const rank = createRanks(createRandom(1))
  for (let read = 0; read < READS; read++) yield read < READS / 2 ? rank() : KEYS + rank()
}

/** A third of the reads are of keys that are read once. */
function* scannedReads(): Generator<number> {
  const rank = createRanks(createRandom(2))
  for (let read = 0; read < READS; read++) yield read % 3 === 0 ? KEYS + read : rank()
}

function hitRateOf(policy: CachePolicy, reads: Iterable<number>): number {
  const cache = createCache<number>({ policy, maxEntries: ENTRIES })
  for (const key of reads) if (cache.get(String(key)) === undefined) cache.set(String(key), key)
  return cache.stats().hitRate
}

test('the least used values leave, and still a change of what is popular costs few hits', () => {
  const rates = { lfu: hitRateOf('lfu', shiftedReads()), lru: hitRateOf('lru', shiftedReads()) }
  expect(rates.lfu).toBeGreaterThanOrEqual(0.58)
  expect(rates.lfu).toBeGreaterThan(rates.lru)
})

test('keys that are read once do not drive out the popular ones', () => {
  const rates = { lfu: hitRateOf('lfu', scannedReads()), lru: hitRateOf('lru', scannedReads()) }
  expect(rates.lfu).toBeGreaterThanOrEqual(0.38)
  expect(rates.lfu).toBeGreaterThan(rates.lru)
})
