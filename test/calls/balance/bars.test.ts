import { describe, expect, test } from 'vitest'
import { POOL_STRATEGIES } from '../../../src/config/pools/pool-settings.ts'
import { percentile, type SimulatedAnswer, sharesOf, simulate } from '../../support/pool-simulation.ts'

/** Times around a mean, normally distributed with a deviation of a fifth. */
const around = (meanMs: number, random: () => number): SimulatedAnswer => {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  return { ms: Math.max(1, meanMs * (1 + 0.2 * normal)) }
}

const usual = (_: number, random: () => number) => around(1_000, random)
const failing = (): SimulatedAnswer => ({ ms: 10, fails: true })
const TEN_MINUTES = { callsPerSecond: 10, seconds: 600 } as const

describe('ten simulated minutes with ten calls a second over three members of a second each', () => {
  test.each(POOL_STRATEGIES)('%s: with a member that fails within 10 ms no call fails, and few attempts', async (strategy) => {
    const calls = await simulate({ pool: { strategy }, ...TEN_MINUTES, members: { 'a/m': usual, 'b/m': usual, 'c/m': failing } })
    expect(calls.length).toBeGreaterThan(5_500)
    expect(calls.filter(({ failed }) => failed)).toEqual([])
    const attempts = calls.flatMap((call) => call.attempts)
    const failed = attempts.filter(({ error }) => error)
    // Every failed attempt is in the ledger under the member that failed.
    expect(new Set(failed.map(({ provider }) => provider))).toEqual(new Set(['c']))
    expect(failed.length / attempts.length).toBeLessThan(0.005)
    const shares = sharesOf(calls)
    expect(shares['a/m']).toBeCloseTo(0.5, 1)
    expect(shares['b/m']).toBeCloseTo(0.5, 1)
  })

  test.each([1, 2, 3])(
    'performance_based: a member ten times slower leaves the 99th percentile alone (seed %i)',
    async (seed) => {
      const slow = (_: number, random: () => number) => around(10_000, random)
      const calls = await simulate({ seed, pool: {}, ...TEN_MINUTES, members: { 'a/m': usual, 'b/m': usual, 'c/m': slow } })
      const alone = await simulate({ seed, pool: {}, ...TEN_MINUTES, members: { 'a/m': usual } })
      const ofPool = percentile(
        calls.map(({ lastedMs }) => lastedMs),
        0.99,
      )
      const ofBest = percentile(
        alone.map(({ lastedMs }) => lastedMs),
        0.99,
      )
      expect(ofPool / ofBest).toBeLessThan(1.1)
      expect(ofPool).toBeLessThanOrEqual(9_500)
      expect(sharesOf(calls)['c/m']).toBeLessThan(0.01)
    },
  )

  test('least_connections gives a slow member few calls but not few enough for the 99th percentile', async () => {
    const slow = (_: number, random: () => number) => around(10_000, random)
    const pool = { strategy: 'least_connections' } as const
    const calls = await simulate({ pool, ...TEN_MINUTES, members: { 'a/m': usual, 'b/m': usual, 'c/m': slow } })
    expect(sharesOf(calls)['c/m']).toBeLessThan(0.1)
    expect(
      percentile(
        calls.map(({ lastedMs }) => lastedMs),
        0.9,
      ),
    ).toBeLessThan(1_500)
    expect(
      percentile(
        calls.map(({ lastedMs }) => lastedMs),
        0.99,
      ),
    ).toBeGreaterThan(9_000)
  })

  test('round_robin and weighted keep their shares within two percent', async () => {
    const members = { 'a/m': usual, 'b/m': usual, 'c/m': usual }
    const even = sharesOf(await simulate({ pool: { strategy: 'round_robin' }, ...TEN_MINUTES, members }))
    for (const model of Object.keys(members)) expect(Math.abs((even[model] ?? 0) * 3 - 1)).toBeLessThan(0.02)
    const weights = { 'a/m': 3, 'b/m': 2, 'c/m': 1 }
    const uneven = sharesOf(await simulate({ pool: { strategy: 'weighted' }, ...TEN_MINUTES, members, weights }))
    for (const [model, weight] of Object.entries(weights)) {
      expect(Math.abs(((uneven[model] ?? 0) * 6) / weight - 1)).toBeLessThan(0.02)
    }
  })
})

/** A member with room for so many calls of about a second at once; the others queue at it. */
function withRoom(room: number) {
  const freeAt = Array.from({ length: room }, () => 0)
  return (atMs: number, random: () => number): SimulatedAnswer => {
    const slot = freeAt.indexOf(Math.min(...freeAt))
    const endsAt = Math.max(atMs, freeAt[slot] ?? 0) + around(1_000, random).ms
    freeAt[slot] = endsAt
    return { ms: endsAt - atMs }
  }
}

test('members of unequal room: performance_based and least_connections use it, round_robin queues without end', async () => {
  const percentileOf = async (strategy: (typeof POOL_STRATEGIES)[number]) => {
    const members = { 'a/m': withRoom(4), 'b/m': withRoom(4), 'c/m': withRoom(16) }
    const calls = await simulate({ pool: { strategy }, callsPerSecond: 18, seconds: 600, members })
    expect(calls.filter(({ failed }) => failed)).toEqual([])
    return percentile(
      calls.map(({ lastedMs }) => lastedMs),
      0.99,
    )
  }
  const endless = await percentileOf('round_robin')
  expect(await percentileOf('performance_based')).toBeLessThan(endless / 20)
  expect(await percentileOf('least_connections')).toBeLessThan(endless / 20)
})

test.each(POOL_STRATEGIES)('%s: a pool of one member asks it, and waits for it while it is away', async (strategy) => {
  const alone = await simulate({ pool: { strategy }, callsPerSecond: 1, seconds: 60, members: { 'a/m': usual } })
  expect(alone.every(({ by, attempts }) => by === 'a/m' && attempts.length === 1)).toBe(true)
  const away = await simulate({
    pool: { strategy },
    callsPerSecond: 1,
    seconds: 60,
    maxRetries: 20,
    members: { 'a/m': (atMs, random) => (atMs < 10_000 ? failing() : usual(atMs, random)) },
  })
  expect(away.filter(({ failed }) => failed)).toEqual([])
})

test.each([
  [5, 10],
  [20, 10],
  [60, 10],
  [300, 60],
])('a member that was away for %i seconds is used again within %i seconds', async (awaySeconds, withinSeconds) => {
  const backAt = 60_000 + awaySeconds * 1_000
  const calls = await simulate({
    pool: {},
    callsPerSecond: 10,
    seconds: 70 + awaySeconds + withinSeconds + 60,
    members: {
      'a/m': usual,
      'b/m': usual,
      'c/m': (atMs, random) => (atMs >= 60_000 && atMs < backAt ? failing() : usual(atMs, random)),
    },
  })
  expect(calls.filter(({ failed }) => failed)).toEqual([])
  const used = calls.filter(({ by, startedAtMs }) => by === 'c/m' && startedAtMs >= backAt)
  expect((Math.min(...used.map(({ startedAtMs }) => startedAtMs)) - backAt) / 1_000).toBeLessThan(withinSeconds)
  // Its share is back soon after.
  const later = sharesOf(calls.filter(({ startedAtMs }) => startedAtMs > backAt + withinSeconds * 1_000 + 20_000))
  expect(later['c/m']).toBeGreaterThan(0.2)
})
