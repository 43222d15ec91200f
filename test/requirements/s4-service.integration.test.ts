// The methods of OrchestratorService (REQUIREMENTS S4-07 to S4-33, SPEC section 2).
//
// S4-07: createFlow stores a flow with an id
// S4-08: getFlow returns the flow with its step results
// S4-09: getFlow returns the flow with its step results
// S4-10: listFlows filters by status and type
// S4-11: listFlows filters by status and type
// S4-12: listFlows filters by status and type
// S4-13: listFlows returns sorted pages
// S4-14: listFlows returns sorted pages
// S4-15: listFlows returns sorted pages
// S4-16: listFlows returns sorted pages
// S4-17: deleteFlow removes a flow, but not a running one
// S4-18: executeFlow resolves with the documented result
// S4-19: a flow requests streams only if an option or a listener demands it
// S4-20: a flow requests streams only if an option or a listener demands it
// S4-22: a flow and a step end at the timeouts of the options
// S4-23: a flow keeps the metadata of its run
// S4-24: executeFlow accepts the thread of the flow as an option and refuses another one
// S4-25: executeStep runs one step and records it
// S4-26: cancelFlow ends a pending executeFlow, which rejects
// S4-27: getFlowStatus reports the progress of a flow before, during and after the run
// S4-28: getFlowStatus reports the progress of a flow before, during and after the run
// S4-29: getFlowStatus reports the progress of a flow before, during and after the run
// S4-30: getFlowStatus reports the progress of a flow before, during and after the run
// S4-31: getFlowStatus reports the progress of a flow before, during and after the run
// S4-32: getFlowStatus reports the progress of a flow before, during and after the run
// S4-33: a failed flow names its failed steps, keeps successful results, and resumes without paying twice
// S4-109: a failed flow names its failed steps, keeps successful results, and resumes without paying twice
// S4-110: a failed flow names its failed steps, keeps successful results, and resumes without paying twice
// S4-130: getFlow returns the flow with its step results
// S4-131: getFlow returns the flow with its step results
// S4-132: getFlow returns the flow with its step results
// S4-T4: the status of another user's flow is hidden when a user is given
// S4-T11: a failed flow names its failed steps, keeps successful results, and resumes without paying twice

import { type FlowStatusReport, type ListFlowsOptions, OrchestratorError } from 'polyphony'
import { expect, expectTypeOf, test } from 'vitest'
import { chain, until } from '../support/flows.ts'
import { describeOnEveryDatabase } from './services.ts'

const UNKNOWN = '00000000-0000-4000-8000-000000000000'
const usage = { inputTokens: 3, outputTokens: 2, totalTokens: 5, source: 'reported' } as const

describeOnEveryDatabase('the service', (services) => {
  test('createFlow stores a flow with an id', async () => {
    const { userId, threadId } = await services.person()
    const { orchestrator } = services.polyphony
    const flow = await orchestrator.createFlow(threadId, userId, chain(services.model([]).step('a')))
    expect(flow).toMatchObject({ id: expect.any(String), threadId, status: 'PENDING', currentStepIndex: 0, name: 'chain' })
    expect(flow.createdAt).toBeInstanceOf(Date)
    expect(flow.startedAt ?? flow.completedAt ?? flow.result).toBeUndefined()
    expect(await orchestrator.getFlow(flow.id, userId)).toMatchObject({ id: flow.id, status: 'PENDING', stepResults: [] })
    const created = orchestrator.createFlow(UNKNOWN, userId, chain(services.model([]).step('a')))
    await expect(created).rejects.toMatchObject({ code: 'THREAD_NOT_FOUND' })
  })

  test('getFlow returns the flow with its step results', async () => {
    const model = services.model(() => ({ text: 'done', usage }))
    const { flow, userId, threadId, result } = await services.run({ ...chain(model.step('a')), description: 'about' })
    const found = await services.polyphony.orchestrator.getFlow(flow.id, userId)
    expect(found).toMatchObject({
      id: flow.id,
      threadId,
      name: 'chain',
      description: 'about',
      flowType: 'sequential',
      steps: [{ id: 'a' }],
      currentStepIndex: 0,
      status: 'COMPLETED',
      result: { finalOutput: 'done', totalTokens: 5 },
    })
    for (const time of [found.createdAt, found.startedAt, found.completedAt]) expect(time).toBeInstanceOf(Date)
    expect(found.stepResults).toMatchObject([
      {
        id: expect.any(String),
        flowId: flow.id,
        stepId: 'a',
        status: 'SUCCESS',
        output: 'done',
        metadata: { provider: 'alpha', model: model.target.model, action: 'generate', usage, retryCount: 0 },
      },
    ])
    expect(found.stepResults[0]?.executedAt).toBeInstanceOf(Date)
    expect(found.result?.steps.map(({ stepId }) => stepId)).toEqual(result.steps.map(({ stepId }) => stepId))
    await expect(services.polyphony.orchestrator.getFlow(UNKNOWN, userId)).rejects.toMatchObject({ code: 'FLOW_NOT_FOUND' })
    await expect(services.polyphony.orchestrator.getFlow('no uuid', userId)).rejects.toMatchObject({ code: 'FLOW_NOT_FOUND' })
  })

  test('listFlows filters by status and type', async () => {
    const whose = await services.person()
    const { orchestrator } = services.polyphony
    const list = async (options?: ListFlowsOptions) =>
      (await orchestrator.listFlows(whose.threadId, whose.userId, options)).map(({ name }) => name).sort()
    const model = services.model(() => 'ok')
    await services.run({ ...chain(model.step('a')), name: 'done' }, {}, whose)
    await orchestrator.createFlow(whose.threadId, whose.userId, { ...chain(model.step('a')), name: 'new' })
    await orchestrator.createFlow(whose.threadId, whose.userId, { name: 'wide', type: 'parallel', steps: [model.step('a')] })
    const stranger = await services.person()
    await orchestrator.createFlow(stranger.threadId, stranger.userId, chain(model.step('a')))
    expect(await list()).toEqual(['done', 'new', 'wide'])
    expect(await list({ status: 'COMPLETED' })).toEqual(['done'])
    expect(await list({ status: 'PENDING' })).toEqual(['new', 'wide'])
    expect(await list({ type: 'parallel' })).toEqual(['wide'])
    expect(await list({ type: 'sequential', status: 'PENDING' })).toEqual(['new'])
    // A caller of plain JavaScript may pass what the types forbid.
    const wrong: object = { status: 'DONE' }
    await expect(list(wrong)).rejects.toBeInstanceOf(OrchestratorError)
  })

  test('listFlows returns sorted pages', async () => {
    const whose = await services.person()
    const { orchestrator } = services.polyphony
    const model = services.model(() => 'ok')
    const ids: string[] = []
    for (const name of ['b', 'c', 'a']) {
      const flow = await orchestrator.createFlow(whose.threadId, whose.userId, { ...chain(model.step('s')), name })
      ids.push(flow.id)
      await new Promise((resolve) => setTimeout(resolve, 3))
    }
    for (const id of [...ids].reverse()) {
      await orchestrator.executeFlow(id, whose.userId, { input: 'x' })
      await new Promise((resolve) => setTimeout(resolve, 3))
    }
    const names = async (options: ListFlowsOptions) =>
      (await orchestrator.listFlows(whose.threadId, whose.userId, options)).map(({ name }) => name).join('')
    expect(await names({})).toBe('acb')
    expect(await names({ sortBy: 'createdAt', sortOrder: 'ASC' })).toBe('bca')
    expect(await names({ sortBy: 'createdAt', sortOrder: 'DESC' })).toBe('acb')
    expect(await names({ sortBy: 'completedAt', sortOrder: 'ASC' })).toBe('acb')
    expect(await names({ sortBy: 'completedAt', sortOrder: 'DESC' })).toBe('bca')
    expect(await names({ sortBy: 'name', sortOrder: 'ASC' })).toBe('abc')
    expect(await names({ sortBy: 'name', sortOrder: 'DESC' })).toBe('cba')
    expect(await names({ sortBy: 'name', sortOrder: 'ASC', limit: 2 })).toBe('ab')
    expect(await names({ sortBy: 'name', sortOrder: 'ASC', limit: 2, offset: 2 })).toBe('c')
    expect(await names({ offset: 9 })).toBe('')
  })

  test('deleteFlow removes a flow, but not a running one', async () => {
    const model = services.model([{ text: '', hang: true }])
    const { userId, threadId } = await services.person()
    const { orchestrator } = services.polyphony
    const flow = await orchestrator.createFlow(threadId, userId, chain(model.step('a')))
    await orchestrator.startFlow(flow.id, userId, { input: 'x' })
    await until(() => model.requests.length === 1)
    await expect(orchestrator.deleteFlow(flow.id, userId)).rejects.toMatchObject({ code: 'FLOW_RUNNING' })
    await orchestrator.cancelFlow(flow.id, userId)
    await orchestrator.deleteFlow(flow.id, userId)
    for (const gone of [orchestrator.getFlow(flow.id, userId), orchestrator.deleteFlow(flow.id, userId)]) {
      await expect(gone).rejects.toMatchObject({ code: 'FLOW_NOT_FOUND' })
    }
    await expect(orchestrator.getFlowStatus(flow.id)).rejects.toMatchObject({ code: 'FLOW_NOT_FOUND' })
    expect(await orchestrator.listFlows(threadId, userId)).toEqual([])
  })

  test('executeFlow resolves with the documented result', async () => {
    const model = services.model(() => ({ text: 'done', usage }))
    const { result, flow } = await services.run(chain(model.step('a'), model.step('b')))
    expect(result).toMatchObject({
      flowId: flow.id,
      status: 'COMPLETED',
      finalOutput: 'done',
      totalCost: expect.any(Number),
      totalTokens: 10,
      usage: { inputTokens: 6, outputTokens: 4, totalTokens: 10 },
      unpricedSteps: 2,
      totalExecutionTime: expect.any(Number),
      simulated: false,
    })
    const [first] = result.steps
    expect(first).toMatchObject({
      stepId: 'a',
      iteration: 1,
      status: 'SUCCESS',
      provider: 'alpha',
      model: model.target.model,
      requestedModel: model.target.model,
      action: 'generate',
      output: 'done',
      finishReason: 'stop',
      usage,
      executionTime: expect.any(Number),
      retryCount: 0,
      withheld: [],
      notes: expect.any(Array),
      simulated: false,
      attempts: [{ usage, executionTime: expect.any(Number) }],
    })
    for (const time of [first?.startedAt, first?.completedAt, first?.attempts[0]?.startedAt]) expect(time).toBeInstanceOf(Date)
    const again = services.polyphony.orchestrator.executeFlow(flow.id, flow.userId)
    await expect(again).rejects.toMatchObject({ code: 'FLOW_ALREADY_COMPLETED' })
  })

  test('a flow requests streams only if an option or a listener demands it', async () => {
    const deltas = async (streaming?: boolean) => {
      const model = services.model([{ text: 'one two', chunks: ['one ', 'two'] }])
      const { updates } = await services.run(chain(model.step('a')), { streaming })
      return updates.flatMap((update) => (update.type === 'step_progress' ? [update.data.delta] : []))
    }
    expect(await deltas(true)).toEqual(['one ', 'two'])
    expect(await deltas(false)).toEqual([])
  })

  test('a flow and a step end at the timeouts of the options', async () => {
    for (const [timeout, code] of [
      [{ flow: 25 }, 'FLOW_TIMEOUT'],
      [{ step: 25 }, 'STEP_TIMEOUT'],
    ] as const) {
      const model = services.model([{ text: '', hang: true }])
      await expect(services.run(chain(model.step('a')), { timeout })).rejects.toMatchObject({ code })
    }
  })

  test('a flow keeps the metadata of its run', async () => {
    const model = services.model(['ok'])
    const whose = await services.person()
    const definition = chain(model.step('a', { prompt: 'for {{ metadata.customer }}' }))
    await services.polyphony.dataSharing.set(whose.userId, model.target.provider, { allowConversationHistory: true })
    const { flow } = await services.run(definition, { metadata: { customer: 'ACME' } }, whose)
    expect(model.sent(0)).toContain('for ACME')
    const stored = await services.polyphony.orchestrator.getFlow(flow.id, flow.userId)
    expect(stored.metadata).toMatchObject({ customer: 'ACME' })
  })

  test('executeFlow accepts the thread of the flow as an option and refuses another one', async () => {
    const whose = await services.person()
    const other = await services.polyphony.conversations.createThread(whose.userId)
    const definition = chain(services.model(() => 'ok').step('a'))
    const { result } = await services.run(definition, { threadId: whose.threadId }, whose)
    expect(result.status).toBe('COMPLETED')
    await expect(services.run(definition, { threadId: other.id }, whose)).rejects.toBeInstanceOf(OrchestratorError)
  })

  test('executeStep runs one step and records it', async () => {
    const model = services.model(['single', 'second', 'again'])
    const { userId, threadId } = await services.person()
    const { orchestrator } = services.polyphony
    const definition = chain(model.step('a', { prompt: 'original' }), model.step('b', { prompt: 'after {{ previous }}' }))
    const flow = await orchestrator.createFlow(threadId, userId, definition)
    const result = await orchestrator.executeStep(flow.id, 'a', userId, 'just this')
    expect(result).toMatchObject({ stepId: 'a', flowId: flow.id, status: 'SUCCESS', output: 'single' })
    expect(model.sent(0)).toContain('just this')
    expect(await orchestrator.executeStep(flow.id, 'b', userId, 'x')).toMatchObject({ output: 'second' })
    expect(model.sent(1)).toContain('after single')
    expect((await orchestrator.getFlow(flow.id, userId)).stepResults).toMatchObject([{ stepId: 'a' }, { stepId: 'b' }])
    const missing = orchestrator.executeStep(flow.id, 'z', userId, 'x')
    await expect(missing).rejects.toMatchObject({ code: 'STEP_NOT_FOUND' })
  })

  test('cancelFlow ends a pending executeFlow, which rejects', async () => {
    const model = services.model(['one', { text: '', hang: true }, 'resumed'])
    const { userId, threadId } = await services.person()
    const { orchestrator } = services.polyphony
    const flow = await orchestrator.createFlow(threadId, userId, chain(model.step('a'), model.step('b')))
    const pending = orchestrator.executeFlow(flow.id, userId, { input: 'x' })
    const outcome = expect(pending).rejects.toMatchObject({ code: 'FLOW_CANCELLED' })
    await until(() => model.requests.length === 2)
    const twice = orchestrator.executeFlow(flow.id, userId, { input: 'x' })
    await expect(twice).rejects.toMatchObject({ code: 'FLOW_ALREADY_RUNNING' })
    await orchestrator.cancelFlow(flow.id, userId)
    await outcome
    expect(await orchestrator.getFlowStatus(flow.id, userId)).toMatchObject({ status: 'CANCELLED', completedSteps: 1 })
    expect(await orchestrator.executeFlow(flow.id, userId)).toMatchObject({ status: 'COMPLETED', finalOutput: 'resumed' })
    expect(model.requests).toHaveLength(3)
  })

  test("the caller's signal cancels, before and during the run", async () => {
    const model = services.model([{ text: '', hang: true }])
    await expect(services.run(chain(model.step('a')), { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'FLOW_CANCELLED',
    })
    expect(model.requests).toHaveLength(0)
    const controller = new AbortController()
    const outcome = expect(services.run(chain(model.step('a')), { signal: controller.signal })).rejects.toMatchObject({
      code: 'FLOW_CANCELLED',
    })
    await until(() => model.requests.length === 1)
    controller.abort()
    await outcome
  })

  test('getFlowStatus reports the progress of a flow before, during and after the run', async () => {
    const { userId, threadId } = await services.person()
    const { orchestrator } = services.polyphony
    const seen: FlowStatusReport[] = []
    const look = async () => seen.push(await orchestrator.getFlowStatus(flow.id))
    const model = services.model(async () => {
      await look()
      return 'ok'
    })
    const flow = await orchestrator.createFlow(threadId, userId, chain(model.step('a'), model.step('b')))
    await look()
    await orchestrator.executeFlow(flow.id, userId, { input: 'x' })
    await look()
    expect(seen).toMatchObject([
      { flowId: flow.id, status: 'PENDING', progress: 0, currentStepIndex: 0, totalSteps: 2, completedSteps: 0, failedSteps: [] },
      { flowId: flow.id, status: 'RUNNING', progress: 0, currentStepIndex: 0, totalSteps: 2, completedSteps: 0, failedSteps: [] },
      { flowId: flow.id, status: 'RUNNING', progress: 50, currentStepIndex: 1, totalSteps: 2, completedSteps: 1 },
      { flowId: flow.id, status: 'COMPLETED', progress: 100, currentStepIndex: 1, totalSteps: 2, completedSteps: 2 },
    ])
    expect(seen[0]?.startedAt).toBeUndefined()
    for (const status of seen.slice(1)) expect(status.startedAt).toBeInstanceOf(Date)
    expect(seen.map(({ completedAt }) => completedAt instanceof Date)).toEqual([false, false, false, true])
    expectTypeOf<FlowStatusReport['progress']>().toEqualTypeOf<number>()
    expectTypeOf<FlowStatusReport['startedAt']>().toEqualTypeOf<Date | undefined>()
  })

  test('a failed flow names its failed steps, keeps successful results, and resumes without paying twice', async () => {
    const { orchestrator } = services.polyphony
    const { userId, threadId } = await services.person()
    const progress: number[] = []
    const look = async () => {
      const status = await orchestrator.getFlowStatus(flow.id)
      progress.push(status.progress)
      return status
    }
    const replies = ['one', 'two', new OrchestratorError('PROVIDER_REJECTED', 'no'), 'three', 'four']
    const model = services.model(async (_, index) => {
      await look()
      return replies[index] ?? 'none'
    })
    const steps = ['a', 'b', 'c', 'd'].map((id) => model.step(id))
    const flow = await orchestrator.createFlow(threadId, userId, chain(...steps))
    const failed = orchestrator.executeFlow(flow.id, userId, { input: 'x' })
    await expect(failed).rejects.toMatchObject({
      code: 'PROVIDER_REJECTED',
      details: { flowId: flow.id, stepId: 'c', attempt: 1 },
    })
    expect(await look()).toMatchObject({
      status: 'FAILED',
      failedSteps: ['c'],
      currentStepIndex: 2,
      completedSteps: 2,
      error: { code: 'PROVIDER_REJECTED' },
    })
    const { stepResults } = await orchestrator.getFlow(flow.id, userId)
    const finished = stepResults.filter(({ status }) => status === 'SUCCESS')
    expect(finished.map(({ stepId, output }) => [stepId, output])).toEqual([
      ['a', 'one'],
      ['b', 'two'],
    ])
    const result = await orchestrator.executeFlow(flow.id, userId)
    expect(result.finalOutput).toBe('four')
    expect(result.steps.map(({ stepId }) => stepId)).toEqual(['a', 'b', 'c', 'd'])
    expect(model.requests).toHaveLength(5)
    expect(await look()).toMatchObject({ status: 'COMPLETED', failedSteps: [], progress: 100 })
    expect(progress).toEqual([...progress].sort((one, other) => one - other))
  })

  test("the status of another user's flow is hidden when a user is given", async () => {
    const { flow } = await services.run(chain(services.model(['ok']).step('a')))
    const stranger = await services.person()
    const foreign = services.polyphony.orchestrator.getFlowStatus(flow.id, stranger.userId)
    await expect(foreign).rejects.toMatchObject({ code: 'FLOW_NOT_FOUND' })
    expect(await services.polyphony.orchestrator.getFlowStatus(flow.id)).toMatchObject({ status: 'COMPLETED' })
  })

  test('startFlow returns at once, and rerunFlow keeps the results before its first step', async () => {
    const { orchestrator } = services.polyphony
    const model = services.model([{ text: 'one', delayMs: 5 }, 'two', 'two again', 'whole 1', 'whole 2'])
    const { userId, threadId } = await services.person()
    const definition = chain(model.step('a'), model.step('b', { prompt: 'after {{ previous }}' }))
    const flow = await orchestrator.createFlow(threadId, userId, definition)
    expect(await orchestrator.startFlow(flow.id, userId, { input: 'x' })).toMatchObject({ status: 'RUNNING' })
    for await (const _ of orchestrator.streamFlow(flow.id, userId));
    const rerun = await orchestrator.rerunFlow(flow.id, userId, { fromStep: 'b' })
    expect(rerun).toMatchObject({ parentFlowId: flow.id, status: 'PENDING' })
    expect(rerun.id).not.toBe(flow.id)
    expect(await orchestrator.executeFlow(rerun.id, userId)).toMatchObject({ finalOutput: 'two again' })
    expect(model.sent(2)).toContain('after one')
    const whole = await orchestrator.rerunFlow(flow.id, userId, { input: 'another' })
    expect(await orchestrator.executeFlow(whole.id, userId)).toMatchObject({ finalOutput: 'whole 2' })
    await expect(orchestrator.rerunFlow(flow.id, userId, { fromStep: 'z' })).rejects.toMatchObject({ code: 'STEP_NOT_FOUND' })
  })
})
