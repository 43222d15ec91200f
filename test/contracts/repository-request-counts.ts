import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Store } from '../../src/repositories/repository.ts'

/** What a store promises that counts requests over all servers. */
export function describeRequestCounts(store: () => Pick<Store, 'requestCounts'>): void {
  describe('counts of requests', () => {
    test('requests of one key are counted once each, whoever counts them, until their window ends', async (context) => {
      const counts = store().requestCounts
      if (!counts) return context.skip('no other process shares this store')
      const key = `key:${randomUUID()}`
      const counted = await Promise.all(Array.from({ length: 10 }, () => counts.count(key, 60_000)))
      expect(counted.map(({ count }) => count).sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
      expect(Math.max(...counted.map(({ leftMs }) => leftMs))).toBeLessThanOrEqual(60_000)
      expect(await counts.count(`key:${randomUUID()}`, 60_000)).toMatchObject({ count: 1 })
    })

    test('a window that has ended begins anew and can be removed', async (context) => {
      const counts = store().requestCounts
      if (!counts) return context.skip('no other process shares this store')
      const key = `key:${randomUUID()}`
      await counts.count(key, 0)
      expect(await counts.count(key, 0)).toMatchObject({ count: 1 })
      expect(await counts.prune()).toBeGreaterThan(0)
      expect(await counts.count(key, 60_000)).toMatchObject({ count: 1 })
      expect(await counts.count(key, 60_000)).toMatchObject({ count: 2 })
    })
  })
}
