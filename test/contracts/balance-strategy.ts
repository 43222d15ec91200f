import { describe, expect, test } from 'vitest'
import type { Candidate, CreateStrategy, Strategy } from '../../src/calls/balance/strategy.ts'
import { seededRandom } from '../support/pool-simulation.ts'

export interface StrategySubject {
  readonly name: string
  readonly create: CreateStrategy
}

const PICKS = 100_000
const NAMES = ['a', 'b', 'c'] as const
/** Quantile 0.99 of the distribution with two degrees of freedom. */
const CHI_SQUARE_OF_THREE = 9.21

/** A member without calls in flight; frozen, so that a strategy that changes it throws. */
export const candidate = (id: string, more: { inFlight?: number; weight?: number; slowness?: number } = {}): Candidate => {
  const { inFlight = 0, weight = 1, slowness } = more
  return Object.freeze({ id, inFlight, weight, slowness: () => slowness })
}

/** How often each member is chosen. */
export function countPicks(strategy: Strategy, members: readonly Candidate[], picks: number): ReadonlyMap<string, number> {
  const counts = new Map(members.map(({ id }) => [id, 0]))
  for (let pick = 0; pick < picks; pick++) {
    const id = strategy.pick(members, false)?.id ?? 'none'
    counts.set(id, (counts.get(id) ?? 0) + 1)
  }
  return counts
}

/** The contract of `Strategy` (src/calls/balance/strategy.ts), which every strategy must meet. */
export function describeStrategy({ name, create }: StrategySubject): void {
  const open = (order: readonly string[] = NAMES) => create({ order, random: seededRandom(7) })
  const members = NAMES.map((id) => candidate(id))

  describe(`${name}, as a strategy`, () => {
    test('chooses nothing only if there is nothing to choose from', () => {
      const strategy = open()
      expect(strategy.pick([], false)).toBeUndefined()
      for (const member of members) expect(strategy.pick([member], true)).toBe(member)
    })

    test('chooses only among the members that it was given', () => {
      const strategy = open()
      const random = seededRandom(3)
      for (let pick = 0; pick < 2_000; pick++) {
        const some = members.filter(() => random() < 0.5)
        const chosen = strategy.pick(some, pick % 2 === 0)
        expect(chosen === undefined ? some.length === 0 : some.includes(chosen)).toBe(true)
      }
    })

    test('gives equal members shares that differ from a third by less than two percent', () => {
      const counts = countPicks(open(), members, PICKS)
      for (const id of NAMES) expect(Math.abs((counts.get(id) ?? 0) / PICKS - 1 / 3)).toBeLessThan(0.02 / 3)
    })

    test.each([1, 2, 3])('shares 30,000 picks as chi-square allows at 0.01 (seed %i)', (seed) => {
      const strategy = create({ order: NAMES, random: seededRandom(seed) })
      const counts = countPicks(strategy, members, 30_000)
      const expected = 30_000 / NAMES.length
      const statistic = NAMES.reduce((sum, id) => sum + ((counts.get(id) ?? 0) - expected) ** 2 / expected, 0)
      expect(statistic).toBeLessThan(CHI_SQUARE_OF_THREE)
    })

    test('shares the calls of a member that is away equally, and lets it return without a flood', () => {
      const strategy = open()
      const away = members.slice(0, 2)
      const without = countPicks(strategy, away, 3_000)
      for (const { id } of away) expect(Math.abs((without.get(id) ?? 0) / 3_000 - 0.5)).toBeLessThan(0.05)
      const back = countPicks(strategy, members, 300)
      expect(back.get('c')).toBeGreaterThan(50)
      expect(back.get('c')).toBeLessThan(160)
    })

    test('is not shifted by what another instance chooses', () => {
      const [own, other] = [open(), open()]
      const alone = open()
      const chosen = Array.from({ length: 50 }, () => {
        other.pick(members.slice(1), false)
        return own.pick(members, false)?.id
      })
      expect(chosen).toEqual(Array.from({ length: 50 }, () => alone.pick(members, false)?.id))
    })

    test('handles a hundred members', () => {
      const names = Array.from({ length: 100 }, (_, index) => `m${index}`)
      const counts = countPicks(
        open(names),
        names.map((id) => candidate(id)),
        20_000,
      )
      for (const id of names) expect(counts.get(id)).toBeGreaterThan(100)
    })
  })
}
