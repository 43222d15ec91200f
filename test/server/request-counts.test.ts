import { expect, test } from 'vitest'
import { createCountStore } from '../../src/server/access/request-counts.ts'

/** Stores of two servers over one count, and the lines that they log. */
function twoServers() {
  const state = { away: false, counts: new Map<string, number>() }
  const lines: string[] = []
  const counts = {
    count: async (key: string) => {
      if (state.away) throw new Error('the database does not answer')
      const count = (state.counts.get(key) ?? 0) + 1
      state.counts.set(key, count)
      return { count, leftMs: 30_000 }
    },
  }
  const open = () => {
    const Store = createCountStore(counts, { warn: (_: unknown, message?: string) => lines.push(message ?? '') })
    const store = new Store()
    return (key: string) =>
      new Promise<{ readonly current: number; readonly ttl: number }>((resolve, reject) => {
        store.incr(key, (error, result) => (error || !result ? reject(error) : resolve(result)), 60_000, 100)
      })
  }
  return { state, lines, first: open(), second: open() }
}

test('servers that share a database count the requests of a key together', async () => {
  const { first, second } = twoServers()
  expect(await first('key:a')).toEqual({ current: 1, ttl: 30_000 })
  expect(await second('key:a')).toEqual({ current: 2, ttl: 30_000 })
  expect(await second('key:b')).toEqual({ current: 1, ttl: 30_000 })
})

test('while the database does not answer each server counts its own requests, and says so once', async () => {
  const { state, lines, first, second } = twoServers()
  state.away = true
  expect((await first('key:a')).current).toBe(1)
  expect((await first('key:a')).current).toBe(2)
  expect((await second('key:a')).current).toBe(1)
  expect(lines).toHaveLength(2)
  state.away = false
  expect(await first('key:a')).toEqual({ current: 1, ttl: 30_000 })
})
