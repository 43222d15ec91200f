import { describe, expect, test } from 'vitest'
import type { Standing } from '../../../src/calls/balance/standing.ts'
import { type SimulatedAnswer, sharesOf, simulate } from '../../support/pool-simulation.ts'

const KILLED_AT_MS = 60_000
const BACK_AT_MS = 66_000

/** Service `one` is killed once, and comes back as its second run. */
function standing(provider: string, atMs: number): Standing {
  if (provider !== 'one' || atMs < KILLED_AT_MS) return { mayAsk: true, run: 1 }
  if (atMs >= BACK_AT_MS) return { mayAsk: true, run: 2 }
  return { mayAsk: false, run: 1, waitMs: 500, code: 'PROVIDER_UNAVAILABLE', mayReturn: true }
}

const around = (meanMs: number, random: () => number): SimulatedAnswer => ({ ms: meanMs * (0.8 + 0.4 * random()) })
const isAway = (atMs: number): boolean => atMs >= KILLED_AT_MS && atMs < BACK_AT_MS

/** Share of the calls from ten to thirty seconds after the return that the service got which had been away. */
async function shareAfterReturn(
  seed: number,
  callsPerSecond: number,
  members: { readonly one: (atMs: number, random: () => number) => SimulatedAnswer; readonly two: typeof members.one },
): Promise<number> {
  const calls = await simulate({
    seed,
    pool: { strategy: 'performance_based' },
    callsPerSecond,
    seconds: 100,
    members: { 'one/m': members.one, 'two/m': members.two },
    standing,
  })
  expect(calls.filter(({ failed }) => failed)).toEqual([])
  const later = calls.filter(({ startedAtMs: at }) => at >= BACK_AT_MS + 10_000 && at < BACK_AT_MS + 30_000)
  return sharesOf(later)['one/m'] ?? 0
}

const usual = (_: number, random: () => number) => around(60, random)

async function expectEvenShares(perSecond: number, members: Parameters<typeof shareAfterReturn>[2]): Promise<void> {
  for (const seed of [1, 2, 3]) {
    const share = await shareAfterReturn(seed, perSecond, members)
    expect(share, `seed ${seed}`).toBeGreaterThan(0.4)
    expect(share, `seed ${seed}`).toBeLessThan(0.6)
  }
}

describe.each([10, 50])('with %i calls a second over two services, one of which was killed and runs again', (perSecond) => {
  test('it has 40 to 60 % within 30 s, as it would without any surprise', async () => {
    await expectEvenShares(perSecond, { one: usual, two: usual })
  })

  test('it has 40 to 60 % within 30 s although its first answers are slow', async () => {
    const cold = (atMs: number, random: () => number) =>
      atMs >= BACK_AT_MS && atMs < BACK_AT_MS + 2_000 ? around(2_000, random) : usual(atMs, random)
    await expectEvenShares(perSecond, { one: cold, two: usual })
  })

  test('it has 40 to 60 % within 30 s although the other one was slow under the load of both', async () => {
    const strained = (atMs: number, random: () => number) => (isAway(atMs) ? around(1_500, random) : usual(atMs, random))
    await expectEvenShares(perSecond, { one: usual, two: strained })
  })
})
