import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { BudgetCap, BudgetReservation, Store } from '../../src/repositories/repository.ts'
import { instant } from '../support/stored-data.ts'

/** What every store promises of budgets over many flows and processes. */
export function describeBudgets(store: () => Store): void {
  const cap = (more: Partial<BudgetCap> = {}): BudgetCap => ({
    name: `budget-${randomUUID()}`,
    subject: 'user-1',
    windowStart: instant(0),
    ...more,
  })
  const reservation = (caps: readonly BudgetCap[], more: Partial<BudgetReservation> = {}): BudgetReservation => ({
    id: randomUUID(),
    ownerId: 'owner-1',
    caps,
    costNanoUsd: 0,
    tokens: 0,
    flows: 0,
    ...more,
  })
  const usageOf = async ({ name, windowStart, subject }: BudgetCap) =>
    (await store().budgets.list([windowStart], subject)).find((usage) => usage.name === name)

  describe('budgets', () => {
    test('a reservation counts until it is settled, and then as what was spent', async () => {
      const budget = cap({ maxCostNanoUsd: 100, maxTokens: 1_000 })
      const first = reservation([budget], { costNanoUsd: 60, tokens: 600 })
      expect(await store().budgets.reserve(first)).toMatchObject({ granted: true, usage: [{ reservedNanoUsd: 0 }] })
      const second = reservation([budget], { costNanoUsd: 60, tokens: 1 })
      expect(await store().budgets.reserve(second)).toMatchObject({ granted: false, usage: [{ reservedNanoUsd: 60 }] })
      await store().budgets.settle([{ id: first.id, costNanoUsd: 10, tokens: 50 }])
      expect(await store().budgets.reserve(second)).toMatchObject({ granted: true, usage: [{ costNanoUsd: 10, tokens: 50 }] })
      expect(await usageOf(budget)).toEqual({
        name: budget.name,
        subject: 'user-1',
        windowStart: instant(0),
        costNanoUsd: 10,
        tokens: 50,
        flows: 0,
        reservedNanoUsd: 60,
        reservedTokens: 1,
      })
    })

    test('a repeated reservation is granted and counts once', async () => {
      const budget = cap({ maxTokens: 300 })
      const repeated = reservation([budget], { tokens: 60 })
      const reserve = (caps = repeated.caps) => store().budgets.reserve({ ...repeated, caps })
      const granted = { granted: true }
      expect(await Promise.all(Array.from({ length: 5 }, () => reserve()))).toMatchObject(Array(5).fill(granted))
      expect(await usageOf(budget)).toMatchObject({ reservedTokens: 60 })
      // Nothing more is needed, so neither a lower maximum nor a new window matters.
      const next = { ...budget, windowStart: instant(3_600) }
      expect(await reserve([{ ...budget, maxTokens: 60 }])).toMatchObject(granted)
      expect(await reserve([next])).toMatchObject(granted)
      await store().budgets.settle([{ id: repeated.id, costNanoUsd: 0, tokens: 20 }])
      expect(await usageOf(budget)).toMatchObject({ reservedTokens: 0, tokens: 20 })
      expect(await usageOf(next)).toMatchObject({ reservedTokens: 0, tokens: 0 })
    })

    test('a reservation is made under all budgets or under none', async () => {
      const [wide, narrow] = [cap({ maxTokens: 1_000 }), cap({ maxTokens: 10 })]
      expect(await store().budgets.reserve(reservation([wide, narrow], { tokens: 11 }))).toMatchObject({ granted: false })
      expect(await usageOf(wide)).toMatchObject({ reservedTokens: 0 })
      expect(await store().budgets.reserve(reservation([narrow, wide], { tokens: 10 }))).toMatchObject({ granted: true })
      expect([await usageOf(wide), await usageOf(narrow)]).toMatchObject([{ reservedTokens: 10 }, { reservedTokens: 10 }])
    })

    test('concurrent reservations never exceed a maximum together', async () => {
      const [narrow, wide] = [cap({ maxCostNanoUsd: 50 }), cap({ maxCostNanoUsd: 90 })]
      const answers = await Promise.all(
        Array.from({ length: 60 }, (_, index) =>
          store().budgets.reserve(reservation(index % 2 === 0 ? [narrow, wide] : [wide, narrow], { costNanoUsd: 7 })),
        ),
      )
      expect(answers.filter(({ granted }) => granted)).toHaveLength(7)
      expect([await usageOf(narrow), await usageOf(wide)]).toMatchObject([{ reservedNanoUsd: 49 }, { reservedNanoUsd: 49 }])
    })

    test('an amount of 0 fits into a budget that is used up', async () => {
      const budget = cap({ maxCostNanoUsd: 0 })
      expect(await store().budgets.reserve(reservation([budget], { costNanoUsd: 1 }))).toMatchObject({ granted: false })
      expect(await store().budgets.reserve(reservation([budget], { costNanoUsd: 0, tokens: 500 }))).toMatchObject({
        granted: true,
      })
    })

    test('a raised maximum takes effect at once', async () => {
      const budget = cap({ maxTokens: 10 })
      await store().budgets.reserve(reservation([budget], { tokens: 10 }))
      const more = reservation([budget], { tokens: 5 })
      expect(await store().budgets.reserve(more)).toMatchObject({ granted: false })
      expect(await store().budgets.reserve({ ...more, caps: [{ ...budget, maxTokens: 15 }] })).toMatchObject({ granted: true })
    })

    test('each subject and each window has an amount of its own', async () => {
      const budget = cap({ maxTokens: 10 })
      const others = [
        { ...budget, subject: 'user-2' },
        { ...budget, windowStart: instant(3_600) },
      ]
      await store().budgets.reserve(reservation([budget], { tokens: 10 }))
      for (const other of others) {
        expect(await store().budgets.reserve(reservation([other], { tokens: 10 }))).toMatchObject({ granted: true })
      }
    })

    test('flows are counted at once and can be withdrawn', async () => {
      const budget = cap({ maxFlows: 1 })
      const flow = () => store().budgets.reserve(reservation([budget], { flows: 1 }))
      expect(await flow()).toMatchObject({ granted: true })
      expect(await flow()).toMatchObject({ granted: false, usage: [{ flows: 1 }] })
      await store().budgets.withdrawFlow([budget])
      expect(await flow()).toMatchObject({ granted: true })
    })

    test('reservations of a dead owner are given back, and its late settlement changes nothing', async () => {
      const budget = cap({ maxTokens: 100 })
      const living = { id: `owner-${randomUUID()}`, host: 'host-1', pid: 4711 }
      await store().owners.heartbeat(living)
      const kept = reservation([budget], { tokens: 40, ownerId: living.id })
      const lost = reservation([budget], { tokens: 60, ownerId: `owner-${randomUUID()}` })
      await store().budgets.reserve(kept)
      await store().budgets.reserve(lost)
      expect(await store().budgets.release(60_000)).toBeGreaterThan(0)
      expect(await usageOf(budget)).toMatchObject({ reservedTokens: 40, tokens: 0 })
      await store().budgets.settle([
        { id: lost.id, costNanoUsd: 5, tokens: 60 },
        { id: kept.id, costNanoUsd: 5, tokens: 30 },
      ])
      await store().budgets.settle([{ id: kept.id, costNanoUsd: 5, tokens: 30 }])
      expect(await usageOf(budget)).toMatchObject({ reservedTokens: 0, tokens: 30, costNanoUsd: 5 })
    })

    test('windows that began before an instant are removed', async () => {
      const old = cap({ windowStart: new Date(0), subject: `user-${randomUUID()}` })
      await store().budgets.reserve(reservation([old], { tokens: 1 }))
      expect(await store().budgets.prune(new Date(1))).toBeGreaterThan(0)
      expect(await usageOf(old)).toBeUndefined()
    })
  })
}
