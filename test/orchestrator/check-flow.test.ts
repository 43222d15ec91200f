import { expect, test } from 'vitest'
import * as z from 'zod'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import type { BudgetReport } from '../../src/domain/users/budget.ts'
import { executors } from '../../src/executors/registry.ts'
import { createCheckFlow } from '../../src/orchestrator/inspect/check-flow.ts'
import { createSharingRules } from '../../src/policies/shared-context.ts'
import { createParser } from '../../src/polyphony.ts'
import { createToolProvider } from '../support/tool-world.ts'

const search = { input: z.strictObject({ q: z.string() }), run: () => 'found' }
const github = createToolProvider('github', { search }, { inProcess: false })

const NONE: ReadonlySet<string> = new Set()

/** checkFlow over a fixed price of one dollar per 1000 tokens; `unpriced` providers have no price. */
const checkFlow = (unpriced = NONE, budgets: readonly BudgetReport[] = []) =>
  createCheckFlow({
    hindranceOf: () => undefined,
    parser: createParser(),
    executors,
    pools: { assertUsable: () => {}, membersOf: (target) => [target] },
    prices: {
      price: () => Promise.resolve(undefined),
      load: () => Promise.resolve(),
      worstCase: ({ id }, _model, inputTokens, maxOutputTokens) =>
        Promise.resolve(unpriced.has(id) ? undefined : (inputTokens + maxOutputTokens) / 1_000),
    },
    budgetsOf: () => Promise.resolve(budgets),
    modelNames: { doubt: () => Promise.resolve(undefined) },
    dataSharing: { get: () => Promise.resolve(undefined) },
    decideSharing: createSharingRules().decideSharing,
    operationsOf: async (id) => (id === 'github' ? github.operations?.() : undefined),
    tokens: { count: (text) => text.length, close: () => {} },
    pricingOf: (id) => ({ id, vendor: id, simulated: false }),
  })

const estimatedStep = (id: string, more: object = {}) => ({
  id,
  model: 'one/m',
  action: 'generate' as const,
  prompt: '1234567890',
  settings: { maxTokens: 1_000 },
  ...more,
})
const define = (steps: FlowDefinitionInput['steps'], more: Partial<FlowDefinitionInput> = {}): FlowDefinitionInput => ({
  name: 'x',
  type: 'sequential',
  steps,
  ...more,
})

test('the cost range extends from short answers and fewest calls to full answers with all upstream outputs', async () => {
  const { ok, calls, cost } = await checkFlow()(define([estimatedStep('a'), estimatedStep('b', { condition: 'false' })]), 'ada')
  expect({ ok, calls }).toEqual({ ok: true, calls: { min: 1, max: 2 } })
  expect(cost.lowUsd).toBeCloseTo((10 + 200) / 1_000)
  expect(cost.highUsd).toBeCloseTo((10 + 1_000 + (10 + 1_000) + 1_000) / 1_000)
})

test('an invalid definition gives one problem per mistake and no cost', async () => {
  const found = await checkFlow()(define([estimatedStep('a', { inputFrom: 'b' })]), 'ada')
  expect(found).toMatchObject({
    ok: false,
    problems: [{ code: 'FLOW_INVALID', path: 'steps[0].inputFrom' }],
    cost: { highUsd: 0 },
  })
})

test('a cost limit that short answers break is a problem, one that only long answers break is a warning', async () => {
  const steps = [estimatedStep('a')]
  const low = await checkFlow()(define(steps, { limits: { maxCostUsd: 0.1 } }), 'ada')
  expect(low).toMatchObject({ ok: false, problems: [{ code: 'LIMIT_EXCEEDED' }] })
  const high = await checkFlow()(define(steps, { limits: { maxCostUsd: 0.5 } }), 'ada')
  expect(high).toMatchObject({ ok: true, warnings: [{ code: 'LIMIT_EXCEEDED' }] })
  const unknown = await checkFlow(new Set(['one']))(define(steps, { limits: { maxCostUsd: 9 } }), 'ada')
  expect(unknown).toMatchObject({ ok: false, cost: { unpriced: ['one/m'] } })
})

test('missing consent for a required output is a problem, for an offered one a warning', async () => {
  const needs = await checkFlow()(
    define([estimatedStep('a'), estimatedStep('b', { model: 'two/m', prompt: '{{ steps.a.output }}' })]),
    'ada',
  )
  expect(needs.problems).toMatchObject([{ code: 'DATA_SHARING_DENIED', details: { piece: 'a', from: 'one', to: 'two' } }])
  const given = await checkFlow()(define([estimatedStep('a'), estimatedStep('b', { model: 'two/m' })]), 'ada')
  expect(given).toMatchObject({ ok: true, warnings: [{ code: 'DATA_SHARING_DENIED' }] })
})

test('a tool that its provider does not have is a problem, one that sharing refuses is a warning, and each turn may cost', async () => {
  const known = await checkFlow()(define([estimatedStep('a', { tools: ['github/search'], maxTurns: 3 })]), 'ada')
  expect(known).toMatchObject({ ok: true, calls: { min: 1, max: 3 } })
  expect(known.cost.highUsd).toBeCloseTo((3 * (10 + 1_000)) / 1_000)
  expect(known.warnings).toMatchObject([
    {
      code: 'DATA_SHARING_DENIED',
      path: 'steps[0].tools',
      details: { tool: 'github/search', from: 'one', to: 'github', rule: 'no_policy' },
    },
  ])
  const mistyped = await checkFlow()(define([estimatedStep('a', { tools: ['github/serach'] })]), 'ada')
  expect(mistyped.problems).toMatchObject([
    { code: 'FLOW_INVALID', path: 'steps[0].tools', message: expect.stringContaining('did you mean "search"?') },
  ])
  const unapproved = { tools: ['github/search'], approveTools: ['github/serach'] }
  expect((await checkFlow()(define([estimatedStep('a', unapproved)]), 'ada')).problems).toMatchObject([
    { code: 'FLOW_INVALID', path: 'steps[0].tools', message: expect.stringContaining('did you mean "github/search"?') },
  ])
})
