import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isBilled, isUnpriced, type LedgerFacts, sumCost, toNanoUsd, totalsOf } from '../../src/domain/execution/cost.ts'
import type { Attempt } from '../../src/domain/execution/step-result.ts'
import type { Usage } from '../../src/domain/execution/usage.ts'
import { NO_FIGURES, type UsageFigures, type UsageQuery } from '../../src/domain/execution/usage-report.ts'
import { attempt, failedAttempt, instant, outcome, stepResult } from '../support/stored-data.ts'
import type { StoreFixture } from './store-fixture.ts'

/** An attempt whose figures are easy to sum. */
const paid = (number: number, overrides: Partial<Attempt> = {}) =>
  attempt(number, {
    usage: {
      inputTokens: 10,
      cachedInputTokens: 4,
      cacheWriteTokens: 2,
      outputTokens: 5,
      reasoningTokens: 3,
      totalTokens: 15,
      source: 'reported',
    },
    cost: 0.25,
    ...overrides,
  })
const PAID: UsageFigures = {
  ...NO_FIGURES,
  calls: 1,
  inputTokens: 10,
  cachedInputTokens: 4,
  cacheWriteTokens: 2,
  outputTokens: 5,
  reasoningTokens: 3,
  totalTokens: 15,
  costUsd: 0.25,
}

const tokens = fc.option(fc.nat(100_000), { nil: undefined })
const generatedUsage: fc.Arbitrary<Usage> = fc.record({
  inputTokens: tokens,
  cachedInputTokens: tokens,
  cacheWriteTokens: tokens,
  outputTokens: tokens,
  reasoningTokens: tokens,
  totalTokens: tokens,
  source: fc.constantFrom('reported' as const, 'estimated' as const, 'unknown' as const),
})
/** Every combination of usage, cost and simulation, likely or not. */
const ledgerFacts: fc.Arbitrary<LedgerFacts> = fc.record({
  usage: fc.option(generatedUsage, { nil: undefined }),
  cost: fc.option(
    fc.nat(2_000_000_000).map((nanoUsd) => nanoUsd / 1e9),
    { nil: undefined },
  ),
  simulated: fc.boolean(),
})

/** The figures of a report, summed up with the functions of `domain/execution/cost.ts`. */
function figuresOf(attempts: readonly LedgerFacts[]): UsageFigures {
  const billed = attempts.filter(isBilled)
  const simulated = attempts.filter((attempt) => attempt.simulated)
  const sum = (of: readonly LedgerFacts[], figure: Exclude<keyof Usage, 'source'>) =>
    of.reduce((total, { usage }) => total + (usage?.[figure] ?? 0), 0)
  return {
    calls: billed.length,
    failedCalls: attempts.length - simulated.length - billed.length,
    inputTokens: sum(billed, 'inputTokens'),
    cachedInputTokens: sum(billed, 'cachedInputTokens'),
    cacheWriteTokens: sum(billed, 'cacheWriteTokens'),
    outputTokens: sum(billed, 'outputTokens'),
    reasoningTokens: sum(billed, 'reasoningTokens'),
    totalTokens: sum(billed, 'totalTokens'),
    costUsd: sumCost(attempts) ?? 0,
    unpricedCalls: attempts.filter(isUnpriced).length,
    uncountedCalls: billed.filter(({ usage }) => usage?.totalTokens === undefined).length,
    simulatedCalls: simulated.length,
    simulatedTokens: sum(simulated, 'totalTokens'),
  }
}

/** What every store promises of sums over the ledger. */
export function describeUsage({ store, thread, runningFlow }: StoreFixture): void {
  const newUser = () => `user-${randomUUID()}`
  const sum = (query: Partial<UsageQuery> & { userId: string }) => store().usage.sum({ groupBy: [], limit: 1_000, ...query })
  const rows = async (query: Partial<UsageQuery> & { userId: string }) => (await sum(query)).rows
  const flowWith = async (userId: string, attempts: readonly Attempt[], overrides: Parameters<typeof runningFlow>[0] = {}) => {
    const { flowId, epoch } = await runningFlow({ userId, ...overrides })
    const results = [stepResult(flowId, 'draft', { attempts })]
    await store().journal.finish({ flowId, epoch, results, outcome: outcome() })
    return flowId
  }

  describe('usage', () => {
    test('usage without calls is one row of zeros, or no row where it is grouped', async () => {
      const userId = newUser()
      expect(await sum({ userId })).toEqual({ rows: [NO_FIGURES], truncated: false })
      expect(await sum({ userId, flowId: randomUUID() })).toEqual({ rows: [NO_FIGURES], truncated: false })
      expect(await sum({ userId, flowId: 'no id' })).toEqual({ rows: [NO_FIGURES], truncated: false })
      expect(await sum({ userId, groupBy: ['day', 'provider', 'model', 'flow'] })).toEqual({ rows: [], truncated: false })
    })

    test('usage distinguishes billed, refused, unpriced, uncounted and simulated calls', async () => {
      const userId = newUser()
      const { cost: _cost, costSource: _source, ...unpriced } = paid(3)
      const { cost: _none, costSource: _no, ...unknown } = paid(4, { usage: { source: 'unknown' }, aborted: true })
      const attempts = [
        paid(1),
        failedAttempt(2),
        unpriced,
        unknown,
        paid(5, { simulated: true, cost: undefined }),
        paid(6, { simulated: true, cost: 99 }),
        { ...failedAttempt(7), simulated: true },
        paid(8, { usage: { outputTokens: 7, source: 'estimated' }, aborted: true, cost: 0 }),
      ]
      await flowWith(userId, attempts)
      expect(await rows({ userId })).toEqual([
        {
          calls: 4,
          failedCalls: 1,
          inputTokens: 20,
          cachedInputTokens: 8,
          cacheWriteTokens: 4,
          outputTokens: 17,
          reasoningTokens: 6,
          totalTokens: 30,
          costUsd: 0.25,
          unpricedCalls: 2,
          uncountedCalls: 2,
          simulatedCalls: 3,
          simulatedTokens: 30,
        },
      ])
    })

    test('usage counts every attempt of every step, iteration and sample of flows of the user, in any thread', async () => {
      const [ann, bob] = [newUser(), newUser()]
      const shared = await thread({ userId: bob })
      const { flowId, epoch } = await runningFlow({ userId: ann, threadId: shared.id })
      await store().journal.append({
        flowId,
        epoch,
        results: [
          stepResult(flowId, 'draft', { attempts: [paid(1), paid(2)] }),
          stepResult(flowId, 'draft', { iteration: 2, attempts: [paid(1)] }),
          stepResult(flowId, 'vote', { sample: 1, attempts: [paid(1)] }),
          stepResult(flowId, 'vote', { sample: 2, attempts: [paid(1)] }),
          stepResult(flowId, 'vote', { attempts: [] }),
        ],
      })
      await flowWith(bob, [paid(1)], { threadId: shared.id })
      expect(await rows({ userId: ann })).toMatchObject([{ calls: 5, totalTokens: 75, costUsd: 1.25 }])
      expect(await rows({ userId: bob })).toMatchObject([{ calls: 1 }])
      expect(await rows({ userId: bob, flowId })).toEqual([NO_FIGURES])
    })

    test('usage is grouped by UTC day, provider, model and flow, each alone and together', async () => {
      const userId = newUser()
      const late = new Date('2026-01-02T23:59:59.999Z')
      const early = new Date('2026-01-03T00:00:00.000Z')
      const one = await flowWith(
        userId,
        [
          paid(1, { provider: 'openai', model: 'a', startedAt: late }),
          paid(2, { provider: 'anthropic', model: 'a', startedAt: early, cost: 1 }),
        ],
        { name: 'one' },
      )
      const two = await flowWith(userId, [paid(1, { provider: 'openai', model: 'b', startedAt: early })], { name: 'two' })
      expect(await rows({ userId, groupBy: ['day'] })).toEqual([
        {
          ...PAID,
          day: '2026-01-03',
          calls: 2,
          inputTokens: 20,
          cachedInputTokens: 8,
          cacheWriteTokens: 4,
          outputTokens: 10,
          reasoningTokens: 6,
          totalTokens: 30,
          costUsd: 1.25,
        },
        { ...PAID, day: '2026-01-02' },
      ])
      expect((await rows({ userId, groupBy: ['provider'] })).map(({ provider, calls }) => [provider, calls])).toEqual([
        ['anthropic', 1],
        ['openai', 2],
      ])
      expect((await rows({ userId, groupBy: ['model'] })).map(({ model, calls }) => [model, calls])).toEqual([
        ['a', 2],
        ['b', 1],
      ])
      expect((await rows({ userId, groupBy: ['flow'] })).map(({ flowId, flowName, calls }) => [flowId, flowName, calls])).toEqual(
        [
          [one, 'one', 2],
          [two, 'two', 1],
        ],
      )
      expect(await rows({ userId, flowId: two, groupBy: ['flow', 'model', 'day', 'provider'] })).toEqual([
        { ...PAID, day: '2026-01-03', provider: 'openai', model: 'b', flowId: two, flowName: 'two' },
      ])
    })

    test('usage begins at `from` and ends before `to`', async () => {
      const userId = newUser()
      await flowWith(
        userId,
        [1, 2, 3, 4].map((number) => paid(number, { startedAt: instant(number) })),
      )
      const calls = async (query: Partial<UsageQuery>) => (await rows({ userId, ...query }))[0]?.calls
      expect(await calls({ from: instant(2) })).toBe(3)
      expect(await calls({ to: instant(2) })).toBe(1)
      expect(await calls({ from: instant(2), to: instant(4) })).toBe(2)
      expect(await calls({ from: instant(2, 1), to: instant(3) })).toBe(0)
    })

    test('usage has the most expensive rows up to the limit and reports that there are more', async () => {
      const userId = newUser()
      await flowWith(
        userId,
        ['a', 'b', 'c'].map((model, index) => paid(index + 1, { model, cost: index })),
      )
      const models = async (limit: number) => {
        const { rows: found, truncated } = await sum({ userId, groupBy: ['model'], limit })
        return [found.map(({ model }) => model), truncated]
      }
      expect(await models(2)).toEqual([['c', 'b'], true])
      expect(await models(3)).toEqual([['c', 'b', 'a'], false])
    })

    test('usage of generated ledgers equals the sums of domain/execution/cost.ts', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(fc.array(ledgerFacts, { maxLength: 4 }), { minLength: 1, maxLength: 4 }), async (steps) => {
          const userId = newUser()
          const { flowId, epoch } = await runningFlow({ userId })
          const results = steps.map((ledger, index) =>
            stepResult(flowId, `step-${index}`, { attempts: ledger.map((facts, at) => attempt(at + 1, facts)) }),
          )
          await store().journal.finish({ flowId, epoch, results, outcome: outcome() })
          const [figures = NO_FIGURES] = await rows({ userId })
          const costUsd = toNanoUsd(figures.costUsd)
          expect({ ...figures, costUsd }).toEqual(figuresOf(results.flatMap(({ attempts }) => attempts)))
          const totals = totalsOf(await store().flows.stepResults(flowId))
          expect(totals).toEqual(totalsOf(results))
          expect(costUsd).toBe(totals.totalCost)
          expect(figures.totalTokens + figures.simulatedTokens).toBe(totals.totalTokens)
        }),
        { numRuns: 25, seed: 20_261_128 },
      )
    })

    test('usage of a deleted flow is removed with it', async () => {
      const userId = newUser()
      const flowId = await flowWith(userId, [paid(1)])
      await store().flows.delete(flowId)
      expect(await rows({ userId })).toEqual([NO_FIGURES])
    })
  })
}
