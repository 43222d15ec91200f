import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Budget } from '../../src/calls/call.ts'
import { createBudget, limits, type WorstCaseUsd } from '../../src/calls/limits.ts'
import type { Attempt } from '../../src/domain/execution/step-result.ts'
import { UNKNOWN_USAGE } from '../../src/domain/execution/usage.ts'
import { MAX_HOSTED_CALLS } from '../../src/domain/tools/tool-fields.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { describeCallLayer } from '../contracts/call.ts'
import { callAnswer, prepared, settled, tryContext } from '../support/calls.ts'

const budgetOf = (...given: Parameters<typeof createBudget>): Budget => {
  const budget = createBudget(...given)
  if (!budget) throw new Error('expected a budget')
  return budget
}

describeCallLayer({
  name: 'limits',
  create: () => limits(() => 1),
  context: () => ({ budget: budgetOf({ maxTokens: 100_000, maxCostUsd: 100 }) }),
})

const row = (more: Partial<Attempt>): Attempt => ({
  number: 1,
  provider: 'alpha',
  model: 'model-a',
  startedAt: new Date(0),
  executionTime: 1,
  aborted: false,
  simulated: false,
  ...more,
})

const reported = (tokens: number) => ({ totalTokens: tokens, source: 'reported' as const })

/** One call under the budget that leaves the given ledger row. */
const spend = async (budget: Budget, left: Partial<Attempt> | undefined, worstCaseUsd: WorstCaseUsd = () => 1) => {
  const layer = limits(worstCaseUsd)(async (_, { onAttempt }) => {
    if (left) onAttempt(row(left))
    return callAnswer()
  })
  await layer(prepared({ settings: { maxTokens: 90 } }), tryContext({ budget }))
  return budget.spent
}

describe('limits', () => {
  test('count the spend of the ledger, not the reservation', async () => {
    const budget = budgetOf({ maxTokens: 1_000, maxCostUsd: 10 })
    expect(await spend(budget, { usage: reported(30), cost: 0.25 })).toEqual({ tokens: 30, costUsd: 0.25 })
  })

  test('count the worst case if the provider reported no usage', async () => {
    const budget = budgetOf({ maxTokens: 1_000, maxCostUsd: 10 })
    expect(await spend(budget, { usage: UNKNOWN_USAGE })).toEqual({ tokens: 100, costUsd: 1 })
  })

  test('count the worst case if tokens are only estimated', async () => {
    const budget = budgetOf({ maxTokens: 1_000, maxCostUsd: 10 })
    expect(await spend(budget, { usage: { totalTokens: 3, source: 'estimated' }, cost: 0.01 })).toEqual({
      tokens: 100,
      costUsd: 1,
    })
  })

  test('count nothing for a rejected request and for one that was not sent', async () => {
    const budget = budgetOf({ maxTokens: 1_000, maxCostUsd: 10 })
    expect(await spend(budget, {})).toEqual({ tokens: 0, costUsd: 0 })
    expect(await spend(budget, undefined)).toEqual({ tokens: 0, costUsd: 0 })
  })

  test('reject a call whose worst case does not fit, with the missing amount', async () => {
    const budget = budgetOf({ maxTokens: 150 }, { tokens: 60, costUsd: 0 })
    await expect(spend(budget, { usage: reported(1) })).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      details: { limit: 'maxTokens', max: 150, spent: 60, reserved: 0, needed: 100 },
    })
  })

  test('reject a model without a price under a cost limit', async () => {
    const budget = budgetOf({ maxCostUsd: 10 })
    await expect(spend(budget, {}, () => undefined)).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      details: { reason: 'unpriced', provider: 'alpha', model: 'model-a' },
    })
  })

  test('allow a free model under a cost limit of 0', async () => {
    const budget = budgetOf({ maxCostUsd: 0 })
    expect(await spend(budget, { usage: reported(100), cost: 0 }, () => 0)).toEqual({ tokens: 100, costUsd: 0 })
  })

  test('do not look up prices if only tokens are limited', async () => {
    const budget = budgetOf({ maxTokens: 1_000 })
    expect(await spend(budget, { usage: reported(10) }, () => Promise.reject(new Error('asked')))).toMatchObject({ tokens: 10 })
  })

  test('reserve the tokens that a setting allows for reasoning, beside those of the answer', async () => {
    const asked: number[] = []
    const layer = limits((_, __, ___, maxOutputTokens) => {
      asked.push(maxOutputTokens)
      return 1
    })(async () => callAnswer())
    const reasoning = { maxTokens: 500 }
    const call = (maxTokens: number) =>
      layer(prepared({ settings: { maxTokens: 90, reasoning } }), tryContext({ budget: budgetOf({ maxTokens, maxCostUsd: 5 }) }))
    await call(1_000)
    expect(asked).toEqual([590])
    await expect(call(589)).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED', details: { limit: 'maxTokens' } })
  })

  test('tolerate a sum that exceeds the limit only by rounding', async () => {
    const budget = budgetOf({ maxCostUsd: 0.3 }, { tokens: 0, costUsd: 0.1 })
    await expect(spend(budget, { usage: reported(1), cost: 0.2 }, () => 0.2)).resolves.toMatchObject({ tokens: 1 })
  })

  test('are undefined if none is set', () => {
    expect(createBudget({})).toBeUndefined()
  })

  test('make a call wait that would fit without the reservations of other calls', async () => {
    const budget = budgetOf({ maxTokens: 150 })
    const first = budget.reserve({ tokens: 100, costUsd: 0 })
    const second = Promise.resolve(budget.reserveWhenFree({ tokens: 100, costUsd: 0 }, new AbortController().signal))
    let admitted = false
    void second.then(() => {
      admitted = true
    })
    await settled()
    expect(admitted).toBe(false)
    first.settle({ tokens: 50 })
    ;(await second).settle({ tokens: 10 })
    expect(budget.spent.tokens).toBe(60)
  })

  test('reject a waiting call once the spent amount excludes it', async () => {
    const budget = budgetOf({ maxTokens: 150 })
    const first = budget.reserve({ tokens: 100, costUsd: 0 })
    const second = Promise.resolve(budget.reserveWhenFree({ tokens: 100, costUsd: 0 }, new AbortController().signal))
    first.settle({ tokens: 51 })
    await expect(second).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
  })

  test('reject a waiting call at once on abort', async () => {
    const budget = budgetOf({ maxTokens: 150 })
    const first = budget.reserve({ tokens: 100, costUsd: 0 })
    const controller = new AbortController()
    const second = Promise.resolve(budget.reserveWhenFree({ tokens: 100, costUsd: 0 }, controller.signal))
    controller.abort('stop')
    await expect(second).rejects.toBe('stop')
    first.settle({})
    expect(budget.spent.tokens).toBe(100)
  })

  test('settle the reservation if counting or the call fails', async () => {
    const budget = budgetOf({ maxTokens: 150 })
    const layer = limits(() => 1)(() => Promise.reject(new OrchestratorError('PROVIDER_AUTH', 'bad key')))
    for (let time = 0; time < 3; time++) {
      await expect(layer(prepared({ settings: { maxTokens: 90 } }), tryContext({ budget }))).rejects.toMatchObject({
        code: 'PROVIDER_AUTH',
      })
    }
    expect(budget.spent.tokens).toBe(0)
  })

  test('are never exceeded by parallel calls that stay within maxTokens', async () => {
    const call = fc.record({
      inputTokens: fc.integer({ min: 0, max: 200 }),
      maxTokens: fc.integer({ min: 1, max: 500 }),
      usedShare: fc.double({ min: 0, max: 1, noNaN: true }),
      ticks: fc.integer({ min: 0, max: 8 }),
      outcome: fc.constantFrom('reported', 'unknown', 'estimated', 'refused'),
    })
    const property = fc.asyncProperty(
      fc.array(call, { minLength: 1, maxLength: 20 }),
      fc.integer({ min: 0, max: 3_000 }),
      async (calls, max) => {
        const usdPerToken = 0.001
        const budget = budgetOf({ maxTokens: max, maxCostUsd: max * usdPerToken })
        let billed = 0
        const outcomes = await Promise.allSettled(
          calls.map(({ inputTokens, maxTokens, usedShare, ticks, outcome }) =>
            limits((_provider, _model, input, output) => (input + output) * usdPerToken)(async (_, { onAttempt }) => {
              for (let tick = 0; tick < ticks; tick++) await Promise.resolve()
              const tokens = inputTokens + Math.floor(maxTokens * usedShare)
              if (outcome !== 'refused') billed += tokens
              if (outcome === 'reported') onAttempt(row({ usage: reported(tokens), cost: tokens * usdPerToken }))
              else if (outcome === 'refused') onAttempt(row({}))
              else onAttempt(row({ usage: { totalTokens: 0, source: outcome === 'unknown' ? 'unknown' : 'estimated' } }))
              return callAnswer()
            })(prepared({ settings: { maxTokens }, countInputTokens: async () => inputTokens }), tryContext({ budget })),
          ),
        )
        expect(billed).toBeLessThanOrEqual(max)
        for (const outcome of outcomes)
          if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'LIMIT_EXCEEDED' })
      },
    )
    await fc.assert(property, { numRuns: 300 })
  })
})

describe('hosted tools', () => {
  /** A model at one dollar whose search costs half a dollar a turn; other tools have no known fee. */
  const worstCaseUsd: WorstCaseUsd = (_provider, _model, _input, _output, tools = []) =>
    tools.some((tool) => tool !== 'web_search') ? undefined : 1 + tools.length / 2
  const search = async (budget: Budget, hostedTools: readonly string[], left: Partial<Attempt>) => {
    const sent: (number | undefined)[] = []
    const layer = limits(worstCaseUsd)(async ({ maxHostedCalls }, { onAttempt }) => {
      sent.push(maxHostedCalls)
      onAttempt(row(left))
      return callAnswer()
    })
    await layer(prepared({ hostedTools }), tryContext({ budget }))
    return sent
  }

  test('reserve the most that their vendor bills in one turn, which an answer keeps', async () => {
    const budget = budgetOf({ maxCostUsd: 1.75 })
    const answered = { usage: reported(30), cost: 0.25 }
    expect(await search(budget, ['web_search'], answered)).toEqual([MAX_HOSTED_CALLS])
    expect(budget.spent.costUsd).toBe(0.75)
    await expect(search(budget, ['web_search'], answered)).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      details: { needed: 1.5 },
    })
  })

  test('cost nothing where the request failed, and are not bounded without a limit of costs', async () => {
    const failed = budgetOf({ maxCostUsd: 2 })
    await search(failed, ['web_search'], { cost: undefined })
    expect(failed.spent.costUsd).toBe(0)
    expect(await search(budgetOf({ maxTokens: 90_000 }), ['web_search'], {})).toEqual([undefined])
  })

  test('without a known fee are refused before the call, with the key that sets one', async () => {
    const refused = search(budgetOf({ maxCostUsd: 10 }), ['code_execution'], {})
    await expect(refused).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      message: expect.stringContaining('hostedPerTurn'),
      details: { reason: 'unpriced', hostedTools: ['code_execution'] },
    })
  })
})
