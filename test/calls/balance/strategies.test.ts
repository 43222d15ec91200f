import { describe, expect, test } from 'vitest'
import { STRATEGIES } from '../../../src/calls/balance/strategies/registry.ts'
import { POOL_STRATEGIES } from '../../../src/config/pools/pool-settings.ts'
import { candidate, countPicks, describeStrategy } from '../../contracts/balance-strategy.ts'
import { seededRandom } from '../../support/pool-simulation.ts'

test('every strategy of the configuration is registered', () => {
  expect(Object.keys(STRATEGIES).sort()).toEqual([...POOL_STRATEGIES].sort())
})

for (const [name, { create }] of Object.entries(STRATEGIES)) describeStrategy({ name, create })

const open = (name: keyof typeof STRATEGIES, order: readonly string[] = ['a', 'b', 'c']) =>
  STRATEGIES[name].create({ order, random: seededRandom(11) })

describe('weighted', () => {
  test('keeps weights of three to one within two percent, evenly mixed', () => {
    const strategy = open('weighted', ['a', 'b'])
    const members = [candidate('a', { weight: 3 }), candidate('b')]
    const first = Array.from({ length: 8 }, () => strategy.pick(members, false)?.id)
    expect(first).toEqual(['a', 'a', 'b', 'a', 'a', 'a', 'b', 'a'])
    const counts = countPicks(strategy, members, 30_000)
    expect(Math.abs((counts.get('a') ?? 0) / 30_000 - 0.75)).toBeLessThan(0.02 * 0.75)
  })
})

describe('round_robin', () => {
  test('continues after the last member that was chosen, also while some cannot be asked', () => {
    const strategy = open('round_robin')
    const [a, b, c] = ['a', 'b', 'c'].map((id) => candidate(id))
    const pick = (...eligible: (typeof a)[]) =>
      strategy.pick(
        eligible.filter((member) => member !== undefined),
        false,
      )?.id
    expect([pick(a, b, c), pick(a, c), pick(a, b, c), pick(b, c), pick(b, c), pick(a, b, c)]).toEqual([
      'a',
      'c',
      'a',
      'b',
      'c',
      'a',
    ])
  })
})

describe('least_connections', () => {
  test('chooses the member with the fewest calls in flight for its weight', () => {
    const members = [candidate('a', { inFlight: 2 }), candidate('b', { inFlight: 3, weight: 2 }), candidate('c', { inFlight: 4 })]
    expect(countPicks(open('least_connections'), members, 100).get('b')).toBe(100)
  })
})

describe('performance_based', () => {
  test('prefers the faster of two members, and counts calls in flight and weights', () => {
    const pick = (first: object, second: object) =>
      countPicks(open('performance_based', ['a', 'b']), [candidate('a', first), candidate('b', second)], 100).get('a')
    expect(pick({ slowness: 10, inFlight: 1 }, { slowness: 30, inFlight: 1 })).toBe(100)
    expect(pick({ slowness: 10, inFlight: 6 }, { slowness: 30, inFlight: 1 })).toBe(0)
    expect(pick({ slowness: 10, inFlight: 6, weight: 2 }, { slowness: 30, inFlight: 1 })).toBe(100)
  })

  test('takes a member without a measured time for one like the median of the others', () => {
    const members = [candidate('a', { slowness: 10 }), candidate('b', { slowness: 30 }), candidate('new', { inFlight: 1 })]
    const counts = countPicks(open('performance_based', ['a', 'b', 'new']), members, 3_000)
    // Its load is 2 × 20, above the others: it is chosen only when it is measured again.
    expect(counts.get('new')).toBe(0)
    const assumed = STRATEGIES.performance_based.create({ order: ['a', 'b', 'new'], random: seededRandom(1), assumed: 1 })
    expect(countPicks(assumed, members, 3_000).get('new')).toBeGreaterThan(1_500)
  })

  test('measures a slow member again with at most one call in two hundred', () => {
    const members = [candidate('a', { slowness: 10 }), candidate('b', { slowness: 10 }), candidate('slow', { slowness: 1_000 })]
    const chosen = countPicks(open('performance_based', ['a', 'b', 'slow']), members, 30_000).get('slow') ?? 0
    expect(chosen).toBeGreaterThan(30)
    expect(chosen / 30_000).toBeLessThan(0.005)
  })
})
