// What SPEC sections 2, 3, 6, 8 and 9 add to the numbers: samples, schemas, agents, loops that are resumed, two instances.
//
// S4-110: a loop that failed in the middle resumes at the same iteration
// S4-26: another instance on the same database reads, streams and cancels a running flow
// S4-T11: sequence numbers of updates continue when a flow is resumed

import { createScriptedProvider, type FlowDefinitionInput, type FlowUpdate, OrchestratorError } from 'polyphony'
import { expect, test } from 'vitest'
import { rejection } from '../support/caught.ts'
import { chain, rejected, until } from '../support/flows.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres } from '../support/postgres.ts'
import { describeInMemory } from './services.ts'

describeInMemory('beyond the numbers', (services) => {
  test('a loop that failed in the middle resumes at the same iteration', async () => {
    const model = services.model(['v1', '{"score":0.2}', 'v2', rejected(), '{"score":0.95}'])
    const { userId, threadId } = await services.person()
    const { orchestrator } = services.polyphony
    const flow = await orchestrator.createFlow(threadId, userId, {
      name: 'loop',
      type: 'refinement',
      steps: [
        model.step('draft'),
        model.step('evaluate', { action: 'evaluate' }),
        model.step('refine', { action: 'refine', prompt: 'mend {{ input }}' }),
      ],
    })
    const failed = orchestrator.executeFlow(flow.id, userId, { input: 'x' })
    await expect(failed).rejects.toMatchObject({ code: 'PROVIDER_REJECTED', details: { stepId: 'evaluate', iteration: 2 } })
    const result = await orchestrator.executeFlow(flow.id, userId)
    expect(result).toMatchObject({ finalOutput: 'v2', stopReason: 'threshold' })
    expect(result.steps.map(({ stepId, iteration }) => `${stepId}#${iteration}`)).toEqual([
      'draft#1',
      'evaluate#1',
      'refine#1',
      'evaluate#2',
    ])
    expect(model.requests).toHaveLength(5)
  })

  test('sequence numbers of updates continue when a flow is resumed', async () => {
    const model = services.model(['one', rejected(), 'two'])
    const { userId, threadId } = await services.person()
    const { orchestrator } = services.polyphony
    const flow = await orchestrator.createFlow(threadId, userId, chain(model.step('a'), model.step('b')))
    const live: FlowUpdate[] = []
    const onUpdate = (update: FlowUpdate) => live.push(update)
    await rejection(orchestrator.executeFlow(flow.id, userId, { input: 'x', onUpdate }))
    await orchestrator.executeFlow(flow.id, userId, { onUpdate })
    expect(live.map(({ seq }) => seq)).toEqual(live.map((_, index) => index + 1))
    const starts = live.flatMap((update) => (update.type === 'flow_start' ? [update.data.resumed] : []))
    expect(starts).toEqual([false, true])
    const stored: FlowUpdate[] = []
    for await (const update of orchestrator.streamFlow(flow.id, userId)) stored.push(update)
    expect(stored.map(({ seq, type }) => [seq, type])).toEqual(live.map(({ seq, type }) => [seq, type]))
  })

  test('a stored definition does not change when its original does', async () => {
    const model = services.model(['ok'])
    const { userId, threadId } = await services.person()
    const definition: FlowDefinitionInput = chain(model.step('a', { prompt: 'as it was' }))
    const flow = await services.polyphony.orchestrator.createFlow(threadId, userId, definition)
    Object.assign(definition.steps[0] ?? {}, { prompt: 'changed later' })
    await services.polyphony.orchestrator.executeFlow(flow.id, userId, { input: 'x' })
    expect(model.sent(0)).toContain('as it was')
  })

  test('all samples of a step are requested, kept and counted in its cost', async () => {
    const usage = { inputTokens: 1, outputTokens: 1, totalTokens: 2, source: 'reported' } as const
    const model = services.model((_, index) => ({ text: `sample ${index}`, usage }))
    const { result } = await services.run(chain(model.step('a', { samples: 3 })))
    expect(model.requests).toHaveLength(3)
    expect([...(result.steps[0]?.samples ?? [])].sort()).toEqual(['sample 0', 'sample 1', 'sample 2'])
    expect(result.totalTokens).toBe(6)
  })

  test('an answer is parsed with the outputSchema of its step or is OUTPUT_INVALID', async () => {
    const outputSchema = { type: 'object', properties: { n: { type: 'number' } }, required: ['n'], additionalProperties: false }
    const model = services.model(['{"n": 5}', '{"n":"five"}', 'still nothing'])
    const { result } = await services.run(chain(model.step('a', { outputSchema })))
    expect(result.steps[0]?.parsed).toEqual({ n: 5 })
    expect(model.requests[0]?.outputSchema).toMatchObject({ properties: { n: { type: 'number' } } })
    await expect(services.run(chain(model.step('a', { outputSchema })))).rejects.toMatchObject({ code: 'OUTPUT_INVALID' })
  })

  test('a fallback never receives text that its provider may not see', async () => {
    const alpha = services.model(['CANARY', rejected()], 'alpha')
    const beta = services.model(['stolen'], 'beta')
    const definition = chain(alpha.step('a'), alpha.step('b', { prompt: '{{ steps.a.output }}', fallbacks: [beta.target] }))
    await expect(services.run(definition)).rejects.toBeInstanceOf(OrchestratorError)
    expect(beta.requests).toHaveLength(0)
  })

  test('parallel branches together stay below maxCostUsd', async () => {
    const usage = { inputTokens: 0, outputTokens: 10, totalTokens: 10, source: 'reported' } as const
    const model = services.model(() => ({ text: 'ok', usage, delayMs: 20 }), 'alpha', 'priced')
    const { userId, threadId } = await services.person()
    const { orchestrator } = services.polyphony
    // The answers of three such calls are covered, not of five.
    const settings = { maxTokens: 10 }
    const steps = ['a', 'b', 'c', 'd', 'e'].map((id) => model.step(id, { prompt: 'x', settings }))
    const definition: FlowDefinitionInput = { name: 'capped', type: 'parallel', steps, limits: { maxCostUsd: 70 } }
    const flow = await orchestrator.createFlow(threadId, userId, definition)
    const run = orchestrator.executeFlow(flow.id, userId, { input: 'x' })
    await expect(run).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
    const { stepResults } = await orchestrator.getFlow(flow.id, userId)
    const paid = stepResults.filter(({ status }) => status === 'SUCCESS')
    expect(paid.length).toBe(model.requests.length)
    expect(paid.reduce((sum, { cost = 0 }) => sum + cost, 0)).toBeLessThanOrEqual(70)
    expect(model.requests.length).toBeGreaterThan(0)
  })
})

test('another instance on the same database reads, streams and cancels a running flow', async () => {
  const { url, drop } = await openTestPostgres()
  const alpha = createScriptedProvider({ id: 'alpha', replies: ['one', { text: '', hang: true }] })
  const open = () => openTestPolyphony({ database: url, providers: { alpha } })
  const [here, there] = await Promise.all([open(), open()])
  const thread = await here.conversations.createThread('ada')
  const write = (id: string) => ({ id, model: 'alpha/m', action: 'generate', prompt: 'x' }) as const
  const flow = await here.orchestrator.createFlow(thread.id, 'ada', chain(write('a'), write('b')))
  const outcome = rejection(here.orchestrator.executeFlow(flow.id, 'ada', { input: 'x' }))
  await until(() => alpha.requests.length === 2)
  expect(await there.orchestrator.getFlowStatus(flow.id, 'ada')).toMatchObject({ status: 'RUNNING', completedSteps: 1 })
  for (const [code, attempt] of [
    ['FLOW_ALREADY_RUNNING', there.orchestrator.executeFlow(flow.id, 'ada', { input: 'x' })],
    ['FLOW_RUNNING', there.orchestrator.deleteFlow(flow.id, 'ada')],
  ] as const) {
    await expect(attempt).rejects.toMatchObject({ code })
  }
  const types: string[] = []
  const followed = (async () => {
    for await (const { type } of there.orchestrator.streamFlow(flow.id, 'ada')) types.push(type)
  })()
  expect(await there.orchestrator.cancelFlow(flow.id, 'ada')).toMatchObject({ status: 'CANCELLED' })
  expect(await outcome).toMatchObject({ code: 'FLOW_CANCELLED' })
  await followed
  expect(types[0]).toBe('flow_start')
  expect(types.at(-1)).toBe('flow_cancelled')
  for (const instance of [here, there]) await instance.close()
  await drop()
})
