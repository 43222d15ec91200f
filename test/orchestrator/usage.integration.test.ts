import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { FlowDefinitionInput, FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import { totalsOf } from '../../src/domain/execution/cost.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { createScriptedProvider, type ScriptedReply } from '../../src/providers/scripted.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres } from '../support/postgres.ts'

const usage = (inputTokens: number, outputTokens: number) => ({
  inputTokens,
  outputTokens,
  totalTokens: inputTokens + outputTokens,
  source: 'reported' as const,
})
/** At $1 per input token and $2 per output token. */
const priced = (text: string): ScriptedReply => ({ text, model: 'priced', usage: usage(10, 5) })
const limited = () => new OrchestratorError('PROVIDER_RATE_LIMITED', 'slow down', { retryable: true })

const STEPS: readonly (FlowStepInput & { readonly replies: readonly ScriptedReply[] })[] = [
  { id: 'priced', replies: [priced('one')], action: 'generate' },
  { id: 'retried', replies: [limited(), priced('two')], action: 'generate', retryOnFailure: true, maxRetries: 1 },
  { id: 'unpriced', replies: [{ text: 'three', usage: usage(7, 3) }], action: 'generate' },
  { id: 'untold', replies: [{ text: 'four', model: 'priced' }], action: 'generate' },
  { id: 'sampled', replies: [priced('five'), priced('five')], action: 'generate', samples: 2 },
  { id: 'refused', replies: [new OrchestratorError('PROVIDER_REJECTED', 'no')], action: 'generate', optional: true },
  { id: 'aborted', replies: [{ text: 'half an answer', hang: true }], action: 'generate', timeout: 40, optional: true },
]

describe.each(['memory://', 'pglite://memory', 'postgres'])('usage on %s', (database) => {
  let polyphony: Polyphony
  let drop: (() => Promise<void>) | undefined
  beforeAll(async () => {
    const postgres = database === 'postgres' ? await openTestPostgres() : undefined
    drop = postgres?.drop
    const script = new Map(STEPS.map(({ id, replies }) => [id, [...replies]]))
    polyphony = await openTestPolyphony({
      database: postgres?.url ?? database,
      providers: {
        known: createScriptedProvider({
          id: 'known',
          replies: ({ model }) => script.get(model)?.shift() ?? priced('more'),
        }),
        fake: createScriptedProvider({ id: 'fake', simulated: true, replies: () => ({ text: 'no', usage: usage(100, 100) }) }),
      },
      prices: { 'known/priced': { inputPerMillion: 1_000_000, outputPerMillion: 2_000_000 } },
      retry: { baseDelayMs: 1, maxDelayMs: 2 },
    })
  })
  afterAll(async () => {
    await polyphony?.close()
    await drop?.()
  })

  let people = 0
  const person = async () => {
    const userId = `user-${++people}`
    return { userId, threadId: (await polyphony.conversations.createThread(userId)).id }
  }
  const run = async ({ userId, threadId }: { userId: string; threadId: string }, definition: FlowDefinitionInput) => {
    const { id } = await polyphony.orchestrator.createFlow(threadId, userId, definition)
    await polyphony.orchestrator.executeFlow(id, userId, { input: 'x', streaming: true })
    return polyphony.orchestrator.getFlow(id, userId)
  }
  const oneStep = (model: string, name = 'one'): FlowDefinitionInput => ({
    name,
    type: 'sequential',
    steps: [{ id: 'a', model, action: 'generate', prompt: 'x' }],
  })

  test('usage of a flow equals its own totals for priced, unpriced, refused, aborted, sampled and simulated attempts', async () => {
    const whose = await person()
    const flow = await run(whose, {
      name: 'everything',
      type: 'sequential',
      steps: [
        ...STEPS.map(({ replies: _, ...step }) => ({ ...step, model: `known/${step.id}`, prompt: 'x' })),
        { id: 'fake', model: 'fake/any', action: 'generate', prompt: 'x' },
      ],
    })
    const { totals, rows } = await polyphony.usage.report(whose.userId, { flowId: flow.id, groupBy: [] })
    const attempts = flow.stepResults.flatMap((step) => step.attempts)
    const unpriced = attempts.filter(({ simulated, usage, cost }) => !simulated && usage && cost === undefined)
    const { totalCost, totalTokens, usage: used } = totalsOf(flow.stepResults)
    expect(flow.result).toMatchObject({ totalCost, totalTokens })
    expect(rows).toEqual([totals])
    expect(totals.costUsd).toBe(totalCost)
    expect(totals.costUsd).toBe(80)
    expect(totals.totalTokens + totals.simulatedTokens).toBe(totalTokens)
    expect(totals.inputTokens + 100).toBe(used.inputTokens)
    expect(totals.outputTokens + 100).toBe(used.outputTokens)
    expect(totals.unpricedCalls).toBe(unpriced.length)
    expect(new Set(unpriced.map(({ model }) => model))).toEqual(new Set(['unpriced', 'priced', 'aborted']))
    expect(totals).toMatchObject({ failedCalls: 2, uncountedCalls: 1, simulatedCalls: 1, simulatedTokens: 200 })
    expect(totals.calls + totals.failedCalls + totals.simulatedCalls).toBe(attempts.length)
  })

  test('usage of a resumed flow counts both runs, and a rerun counts only its own calls', async () => {
    const whose = await person()
    const { orchestrator } = polyphony
    let fails = true
    const definition: FlowDefinitionInput = {
      name: 'resumed',
      type: 'sequential',
      steps: ['a', 'b'].map((id) => ({ id, model: 'known/x', action: 'generate' as const, prompt: 'x' })),
      onStepComplete: ({ stepId }) => {
        if (stepId === 'a' && fails) controller.abort()
      },
    }
    const controller = new AbortController()
    const { id } = await orchestrator.createFlow(whose.threadId, whose.userId, definition)
    const first = orchestrator.executeFlow(id, whose.userId, { input: 'x', signal: controller.signal })
    await expect(first).rejects.toMatchObject({ code: 'FLOW_CANCELLED' })
    fails = false
    const { totalCost } = await orchestrator.executeFlow(id, whose.userId)
    const cost = async (flowId: string) => (await polyphony.usage.report(whose.userId, { flowId })).totals.costUsd
    expect(await cost(id)).toBe(totalCost)
    const rerun = await orchestrator.rerunFlow(id, whose.userId, { fromStep: 'b' })
    expect(await cost(rerun.id)).toBe(0)
    await orchestrator.executeFlow(rerun.id, whose.userId)
    expect(await cost(rerun.id)).toBe(20)
  })

  test('usage is grouped as requested, with totals over all rows', async () => {
    const whose = await person()
    const [one, two] = [await run(whose, oneStep('known/x')), await run(whose, oneStep('known/y', 'two'))]
    const three = await run(whose, oneStep('known/y', 'two'))
    const today = new Date().toISOString().slice(0, 10)
    const byDay = await polyphony.usage.report(whose.userId)
    expect(byDay).toMatchObject({ groupBy: ['day'], truncated: false, totals: { calls: 3, costUsd: 60 } })
    expect(byDay.rows.map(({ day, calls }) => [day, calls])).toEqual([[today, 3]])
    const byFlow = await polyphony.usage.report(whose.userId, { groupBy: ['flow', 'flow', 'provider'], limit: 2 })
    expect(byFlow).toMatchObject({ groupBy: ['provider', 'flow'], truncated: true, totals: { calls: 3 } })
    // All cost the same: which two of the three come first is open.
    expect(new Set(byFlow.rows.map(({ flowId }) => flowId)).size).toBe(2)
    for (const { flowId } of byFlow.rows) expect([one.id, two.id, three.id]).toContain(flowId)
    expect(byFlow.rows[0]).toMatchObject({ provider: 'known', flowName: expect.any(String), costUsd: 20 })
    expect(byFlow.rows[0]).not.toHaveProperty('day')
    const none = await polyphony.usage.report(whose.userId, { to: today, groupBy: ['model'] })
    expect(none).toMatchObject({ rows: [], totals: { calls: 0, costUsd: 0 }, to: new Date(today) })
    expect((await polyphony.usage.report(whose.userId, { from: today })).totals.calls).toBe(3)
  })

  test('usage is reported only for flows that the user created', async () => {
    const [ann, bob] = [await person(), await person()]
    const flow = await run(ann, oneStep('known/x'))
    await polyphony.permissions.grant(ann.threadId, ann.userId, bob.userId, ['read', 'write'])
    const of = (userId: string, flowId: string) => polyphony.usage.report(userId, { flowId })
    await expect(of(bob.userId, flow.id)).rejects.toMatchObject({ code: 'FLOW_NOT_FOUND' })
    await expect(of('stranger', flow.id)).rejects.toMatchObject({ code: 'FLOW_NOT_FOUND' })
    await expect(of(ann.userId, crypto.randomUUID())).rejects.toMatchObject({ code: 'FLOW_NOT_FOUND' })
    expect((await polyphony.usage.report(bob.userId)).totals.calls).toBe(0)
    const shared = await run({ userId: bob.userId, threadId: ann.threadId }, oneStep('known/x'))
    expect((await of(bob.userId, shared.id)).totals.calls).toBe(1)
    await polyphony.permissions.revoke(ann.threadId, ann.userId, bob.userId)
    await expect(of(bob.userId, shared.id)).rejects.toMatchObject({ code: 'FLOW_NOT_FOUND' })
    expect((await polyphony.usage.report(bob.userId)).totals.calls).toBe(1)
    expect((await polyphony.usage.report(ann.userId)).totals.calls).toBe(1)
  })

  test.each([
    { from: 'yesterday' },
    { from: '2026-13-01' },
    { from: '2026-11-20T08:00:00' },
    { from: new Date(Number.NaN) },
    { from: new Date(8.64e15) },
    { from: new Date(-8.64e15) },
    { from: '2026-11-20', to: '2026-11-20' },
    { groupBy: ['user'] },
    { groupBy: 'day' },
    { groupBy: Array(50).fill('day') },
    { flowId: 7 },
    { flowId: '' },
    { flowId: 'a\0b' },
    { limit: 0 },
    { limit: 1_001 },
    { userId: 'somebody else' },
  ])('usage is refused for %j', async (options) => {
    // @ts-expect-error a caller without types
    await expect(polyphony.usage.report('ann', options)).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  })

  test.each([
    { from: '1970-01-01', to: '9999-12-31' },
    { from: '2026-11-20T08:00:00+05:30' },
    { from: new Date('2026-11-20T08:00:00Z'), groupBy: [] },
  ])('usage is reported for %j', async (options) => {
    expect(await polyphony.usage.report('nobody', { ...options, groupBy: [...(options.groupBy ?? [])] })).toMatchObject({
      totals: { calls: 0 },
    })
    await expect(polyphony.usage.report('', {})).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  })
})
