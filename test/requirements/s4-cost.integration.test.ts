// Tokens, prices, limits (REQUIREMENTS S4-123 to S4-129, SPEC sections 2 and 6).
//
// S4-123: tokens are counted per step and for the whole flow
// S4-124: tokens are counted per step and for the whole flow
// S4-125: attempts with a known price have a cost, and all others have none
// S4-126: attempts with a known price have a cost, and all others have none
// S4-127: tokens are counted per step and for the whole flow
// S4-128: tokens are counted per step and for the whole flow
// S4-129: tokens are counted per step and for the whole flow
// S4-T6: attempts with a known price have a cost, and all others have none

import { type FlowExecutionResult, type FlowStepInput, OrchestratorError, type StepResult } from 'polyphony'
import { expect, expectTypeOf, test } from 'vitest'
import { chain } from '../support/flows.ts'
import { describeOnEveryDatabase } from './services.ts'

const usage = (inputTokens: number, outputTokens: number) => ({
  inputTokens,
  outputTokens,
  totalTokens: inputTokens + outputTokens,
  source: 'reported' as const,
})

describeOnEveryDatabase('cost', (services) => {
  /** $1 per input token, $2 per output token: the answering model is the one to price. */
  const answer = (text: string, inputTokens: number, outputTokens: number) => ({
    text,
    model: 'priced',
    usage: usage(inputTokens, outputTokens),
  })
  const priced = (id: string, more: Partial<FlowStepInput> = {}): FlowStepInput => ({
    id,
    model: 'alpha/priced',
    action: 'generate',
    prompt: 'x',
    ...more,
  })

  test('tokens are counted per step and for the whole flow', async () => {
    const model = services.model([
      { text: 'one', usage: usage(10, 5) },
      { text: 'two', usage: usage(20, 7) },
    ])
    const { result } = await services.run(chain(model.step('a'), model.step('b')))
    expect(result.steps.map(({ stepId, usage }) => [stepId, usage?.totalTokens])).toEqual([
      ['a', 15],
      ['b', 27],
    ])
    expect(result).toMatchObject({ totalTokens: 42, usage: usage(30, 12), finalOutput: 'two' })
    expectTypeOf<FlowExecutionResult['totalCost']>().toEqualTypeOf<number>()
    expectTypeOf<StepResult['cost']>().toEqualTypeOf<number | undefined>()
  })

  test('attempts with a known price have a cost, and all others have none', async () => {
    const known = services.model([answer('dear', 10, 5)])
    const unknown = services.model([{ text: 'free?', usage: usage(10, 5) }])
    const untold = services.model([{ text: 'no tokens told', model: 'priced' }])
    const { result, flow } = await services.run(chain(known.step('a'), unknown.step('b'), untold.step('c')))
    expect(result.steps.map(({ cost }) => cost)).toEqual([20, undefined, undefined])
    expect(result).toMatchObject({ totalCost: 20, unpricedSteps: 2 })
    expect(result.steps[0]).toMatchObject({ costSource: 'configured', metadata: { cost: 20 } })
    expect(result.steps.map(({ model }) => model)).toEqual(['priced', unknown.target.model, 'priced'])
    expect(result.steps[0]?.requestedModel).toBe(known.target.model)
    expect((await services.polyphony.orchestrator.getFlow(flow.id, flow.userId)).result).toMatchObject({
      totalCost: 20,
      unpricedSteps: 2,
    })
  })

  test('every attempt has a cost of its own, and the totals are their sums', async () => {
    const model = services.model([answer('not json', 10, 5), answer('{"x":1}', 30, 1)])
    const judge = services.model([answer('garbage', 3, 1), answer('{"score":1,"approved":true}', 4, 1)]).step('judge', {
      action: 'evaluate',
    })
    const refine = model.step('refine', { action: 'refine' })
    const { result } = await services.run({ name: 'r', type: 'refinement', steps: [model.step('draft'), judge, refine] })
    const attempts = result.steps.flatMap((one) => one.attempts)
    expect(attempts.map(({ cost }) => cost)).toEqual([20, 5, 6])
    expect(result.totalCost).toBe(31)
    expect(result.totalTokens).toBe(15 + 4 + 5)
  })

  test('a resumed flow counts the cost of earlier executions', async () => {
    const model = services.model([answer('one', 1, 1), new OrchestratorError('PROVIDER_REJECTED', 'no'), answer('two', 2, 2)])
    const { userId, threadId } = await services.person()
    const flow = await services.polyphony.orchestrator.createFlow(threadId, userId, chain(model.step('a'), model.step('b')))
    await expect(services.polyphony.orchestrator.executeFlow(flow.id, userId, { input: 'x' })).rejects.toMatchObject({
      code: 'PROVIDER_REJECTED',
    })
    const result = await services.polyphony.orchestrator.executeFlow(flow.id, userId)
    expect(result).toMatchObject({ totalCost: 3 + 6, totalTokens: 6 })
  })

  test('a flow stops before a call that could exceed maxCostUsd, and resumes when the limit is raised', async () => {
    const steps = [priced('a', { settings: { maxTokens: 10 } }), priced('b', { settings: { maxTokens: 10 } })]
    const refused = services.run({ ...chain(...steps), limits: { maxCostUsd: 5 } })
    await expect(refused).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
  })

  test('a flow keeps its results when maxTokens or maxSteps is reached', async () => {
    for (const [limits, calls] of [
      [{ maxTokens: 100 }, 1],
      [{ maxSteps: 2 }, 2],
    ] as const) {
      const model = services.model(() => ({ text: 'ok', usage: usage(10, 60) }))
      const { userId, threadId } = await services.person()
      const { orchestrator } = services.polyphony
      const settings = { maxTokens: 60 }
      const steps = ['a', 'b', 'c'].map((id) => model.step(id, { settings }))
      const flow = await orchestrator.createFlow(threadId, userId, { ...chain(...steps), limits })
      const run = orchestrator.executeFlow(flow.id, userId, { input: 'x' })
      await expect(run, JSON.stringify(limits)).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
      expect(model.requests).toHaveLength(calls)
      expect(await orchestrator.getFlowStatus(flow.id)).toMatchObject({ status: 'FAILED', completedSteps: calls })
    }
  })

  test('checkFlow returns a cost range and every problem that would stop the run, before any call', async () => {
    const { userId } = await services.person()
    const { orchestrator } = services.polyphony
    const fine = await orchestrator.checkFlow(chain(priced('a', { settings: { maxTokens: 1_000 } })), userId)
    expect(fine).toMatchObject({ ok: true, problems: [] })
    expect(fine.cost.highUsd).toBeGreaterThan(fine.cost.lowUsd)
    expect(fine.cost.lowUsd).toBeGreaterThan(0)
    expect(fine.cost.highUsd).toBeGreaterThanOrEqual(2_000)
    const bad = await orchestrator.checkFlow(
      chain(
        { id: 'a', model: 'nowhere/m', action: 'generate' },
        { id: 'b', model: 'asleep/m', action: 'generate' },
        { id: 'c', model: 'beta/m', action: 'refine', prompt: '{{ steps.a.output }}' },
      ),
      userId,
    )
    expect(bad.ok).toBe(false)
    const codes = bad.problems.map(({ code }) => code)
    expect(codes).toEqual(expect.arrayContaining(['PROVIDER_NOT_CONFIGURED', 'PROVIDER_INACTIVE', 'DATA_SHARING_DENIED']))
    // A caller of plain JavaScript may pass what the types forbid.
    const nonsense: object = { name: 'n', type: 'sequential', steps: [] }
    expect(await orchestrator.checkFlow(Object.assign(chain(), nonsense), userId)).toMatchObject({ ok: false })
  })
})
