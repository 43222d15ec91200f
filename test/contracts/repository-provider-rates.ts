import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { ProviderRateRepository, RateSlots, Store } from '../../src/repositories/repository.ts'

type SlotOptions = Omit<RateSlots, 'account' | 'slots'> & { readonly tokens: readonly number[] }

/** What a store of rates over all processes promises; `undefined` for a store that no other process shares. */
export function describeProviderRates(store: () => Pick<Store, 'providerRates'>): void {
  const account = () => `account-${randomUUID()}`
  const slots = (...tokens: readonly number[]) => tokens.map((count) => ({ id: randomUUID(), tokens: count }))
  const take = (rates: ProviderRateRepository, name: string, { tokens, ...options }: SlotOptions) => {
    const wanted = slots(...tokens)
    return rates
      .take({ account: name, ...options, slots: wanted })
      .then((answer) => ({ ...answer, ids: wanted.map(({ id }) => id) }))
  }

  describe('rates of provider accounts', () => {
    const rateTest = (name: string, run: (rates: ProviderRateRepository) => Promise<void>) =>
      test(name, async (context) => {
        const rates = store().providerRates
        if (!rates) return context.skip('no other process shares this store')
        await run(rates)
      })

    rateTest('slots lie an interval apart, whoever takes them', async (rates) => {
      const name = account()
      const options = { ownerId: 'a', intervalMs: 100_000, limits: {}, tokens: [0] }
      const answers = await Promise.all(Array.from({ length: 20 }, () => take(rates, name, options)))
      const waits = answers.map(({ waitMs }) => Math.round(waitMs / 100_000)).sort((a, b) => a - b)
      expect(waits).toEqual(Array.from({ length: 20 }, (_, index) => index))
      expect(await take(rates, name, { ...options, tokens: [0, 0] })).toMatchObject({ granted: 2, closedForMs: 0 })
      const { waitMs } = await take(rates, name, options)
      expect(Math.round(waitMs / 100_000)).toBe(22)
    })

    rateTest('never more slots run than maxConcurrency, over all callers', async (rates) => {
      const name = account()
      const options = { ownerId: 'a', intervalMs: 0, limits: { maxConcurrency: 5 }, tokens: [0, 0, 0] }
      const answers = await Promise.all(Array.from({ length: 6 }, () => take(rates, name, options)))
      expect(answers.reduce((sum, { granted }) => sum + granted, 0)).toBe(5)
      const taken = answers.flatMap(({ ids, granted }) => ids.slice(0, granted))
      await rates.leave(name, options.limits, taken.slice(0, 2), 0)
      await rates.leave(name, options.limits, taken.slice(0, 2), 0)
      expect(await take(rates, name, options)).toMatchObject({ granted: 2 })
    })

    rateTest('a bucket of one minute of tokens is shared, and unused tokens go back into it', async (rates) => {
      const name = account()
      const options = { ownerId: 'a', intervalMs: 0, limits: { tokensPerMinute: 600 } }
      expect(await take(rates, name, { ...options, tokens: [500] })).toMatchObject({ granted: 1, waitMs: 0 })
      const refused = await take(rates, name, { ...options, tokens: [500] })
      expect(refused.granted).toBe(0)
      expect(refused.waitMs).toBeGreaterThan(30_000)
      await rates.leave(name, options.limits, [], 450)
      expect(await take(rates, name, { ...options, tokens: [500] })).toMatchObject({ granted: 1, waitMs: 0 })
    })

    rateTest('a closed account grants no slot to anybody until it opens', async (rates) => {
      const name = account()
      const options = { ownerId: 'a', intervalMs: 1, limits: {}, tokens: [0] }
      await rates.close(name, 60_000)
      await rates.close(name, 1_000)
      const { granted, closedForMs } = await take(rates, name, options)
      expect(granted).toBe(0)
      expect(closedForMs).toBeGreaterThan(50_000)
      expect((await rates.closures()).get(name)).toBeGreaterThan(50_000)
      expect((await rates.closures()).has(account())).toBe(false)
    })

    rateTest('slots of a dead process come back', async (rates) => {
      const name = account()
      const options = { ownerId: `owner-${randomUUID()}`, intervalMs: 0, limits: { maxConcurrency: 1 }, tokens: [0] }
      expect(await take(rates, name, options)).toMatchObject({ granted: 1 })
      expect(await take(rates, name, options)).toMatchObject({ granted: 0, waitMs: 0 })
      await rates.releaseSlots(60_000)
      expect(await take(rates, name, options)).toMatchObject({ granted: 1 })
    })
  })
}
