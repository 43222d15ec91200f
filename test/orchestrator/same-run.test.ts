import { afterEach, describe, expect, test } from 'vitest'
import type { FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { createResumption } from '../../src/orchestrator/ownership/resumption.ts'
import type { ScriptedReply } from '../../src/providers/scripted.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'
import type { StoredFlow } from '../../src/repositories/repository.ts'
import { chain, rejected, step } from '../support/flows.ts'
import { openMortalProcess } from '../support/mortal-process.ts'
import { type ScriptedFlow, scripted, USER } from '../support/scripted-flow.ts'
import { newFlow } from '../support/stored-data.ts'

let flow: ScriptedFlow | undefined
afterEach(async () => {
  await flow?.polyphony.close()
  flow = undefined
})

/** A flow whose second step fails the first time, executed once. */
async function halfDone(options: object = {}, second: Partial<FlowStepInput> = {}) {
  flow = await scripted(['one', rejected(), 'two', 'three'])
  const { orchestrator, dataSharing } = flow.polyphony
  await dataSharing.set(USER, 'scripted', { allowConversationHistory: true })
  const created = await orchestrator.createFlow(flow.threadId, USER, chain(step('a', second), step('b')))
  await expect(orchestrator.executeFlow(created.id, USER, { input: 'cats', ...options })).rejects.toMatchObject({
    code: 'PROVIDER_REJECTED',
  })
  return { orchestrator, flowId: created.id, provider: flow.provider }
}

/** The same with a store that the test reads, started with an API key. */
async function halfDoneInMemory() {
  const store = createMemoryStore()
  const replies: ScriptedReply[] = ['one', rejected()]
  const process = await openMortalProcess({ store, diesAt: () => false, reply: () => replies.shift() ?? 'fine' })
  const { id: threadId } = await process.conversations.createThread(USER, {})
  const { id: flowId } = await process.orchestrator.createFlow(threadId, USER, chain(step('a'), step('b')))
  const run = process.orchestrator.executeFlow(flowId, USER, { input: 'cats', apiKeyId: 'key-1' })
  await expect(run).rejects.toMatchObject({ code: 'PROVIDER_REJECTED' })
  return { orchestrator: process.orchestrator, flowId, store }
}

describe('resuming', () => {
  test('resuming with another input is refused before a call, and the error names rerunFlow', async () => {
    const { orchestrator, flowId, provider } = await halfDone()
    const error = await orchestrator.executeFlow(flowId, USER, { input: 'dogs' }).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'INPUT_INVALID', message: expect.stringContaining('rerunFlow') })
    expect(provider.requests).toHaveLength(2)
  })

  test.each([
    ['the same input', { input: 'cats' }],
    ['no input', {}],
  ])('resuming with %s continues the flow', async (_, options) => {
    const { orchestrator, flowId, provider } = await halfDone()
    expect(await orchestrator.executeFlow(flowId, USER, options)).toMatchObject({ status: 'COMPLETED', finalOutput: 'two' })
    expect(provider.requests).toHaveLength(3)
  })

  test('resuming with other metadata is refused if a recorded prompt reads metadata, and continues otherwise', async () => {
    const reading = await halfDone({ metadata: { x: 1 } }, { prompt: 'do a {{ metadata.x }}' })
    const refused = reading.orchestrator.executeFlow(reading.flowId, USER, { metadata: { x: 2 } })
    await expect(refused).rejects.toMatchObject({ code: 'INPUT_INVALID' })
    await flow?.polyphony.close()
    const other = await halfDone({ metadata: { x: 1 } })
    expect(await other.orchestrator.executeFlow(other.flowId, USER, { metadata: { x: 2 } })).toMatchObject({
      status: 'COMPLETED',
    })
  })

  test('resuming with the same metadata continues the flow, however deep the metadata is', async () => {
    const deep = () => ({ metadata: JSON.parse(`{"a":${'['.repeat(1_499)}${']'.repeat(1_499)}}`) })
    const { orchestrator, flowId } = await halfDone(deep())
    expect(await orchestrator.executeFlow(flowId, USER, deep())).toMatchObject({ status: 'COMPLETED' })
  })

  test('a step that is executed with another input leaves the input of the flow as it is', async () => {
    const { orchestrator, flowId } = await halfDone()
    await orchestrator.executeStep(flowId, 'b', USER, 'dogs')
    expect((await orchestrator.getFlow(flowId, USER)).input).toBe('cats')
  })
})

describe('a prompt of blanks', () => {
  test.each(['', ' \n\t', '\u200b', '\ufeff', '\u2060\u00ad'])('the blank prompt %j is refused before a call', async (input) => {
    flow = await scripted([])
    await expect(flow.run(chain(step('a')), { input })).rejects.toMatchObject({ code: 'FLOW_INPUT_MISSING' })
    expect(flow.provider.requests).toHaveLength(0)
  })

  test('a blank prompt in the middle of a flow fails its step before the call', async () => {
    flow = await scripted(['one'])
    const definition = {
      ...chain(step('a'), step('b', { prompt: '{% if steps.a.output == "two" %}go on{% endif %}' })),
      contextPolicy: { includeOriginalPrompt: false },
    }
    await expect(flow.run(definition)).rejects.toMatchObject({
      code: 'STEP_FAILED',
      details: { stepId: 'b', path: 'steps[1].prompt' },
    })
    expect(flow.provider.requests).toHaveLength(1)
  })
})

describe('rerunning', () => {
  test('a rerun from the middle of a loop carries only the first round', async () => {
    const verdict = '{"score":0.2,"approved":false,"issues":[],"feedback":""}'
    flow = await scripted(['d', verdict, 'm1', verdict, 'm2', 'n1', verdict, 'n2'])
    const { orchestrator } = flow.polyphony
    const steps = [
      step('draft'),
      step('judge', { action: 'critique', prompt: 'judge {{ input }}' }),
      step('mend', { action: 'refine', prompt: 'mend {{ input }}' }),
    ]
    const first = await flow.run({ name: 'c', type: 'critique', critique: { rounds: 2 }, steps })
    const again = await orchestrator.rerunFlow(first.flowId, USER, { fromStep: 'mend' })
    expect(again.stepResults.map(({ stepId, iteration }) => `${stepId}#${iteration}`)).toEqual(['draft#1', 'judge#1'])
    const result = await orchestrator.executeFlow(again.id, USER)
    expect(result.finalOutput).toBe('n2')
    expect(flow.provider.requests[6]?.messages.at(-1)?.content).toContain('judge n1')
  })

  test('a rerun with another input carries no result that saw the old one', async () => {
    flow = await scripted(['one', 'two'])
    const first = await flow.run(chain(step('a'), step('b')))
    const { orchestrator } = flow.polyphony
    expect((await orchestrator.rerunFlow(first.flowId, USER, { fromStep: 'b', input: 'other' })).stepResults).toEqual([])
    expect((await orchestrator.rerunFlow(first.flowId, USER, { fromStep: 'b' })).stepResults).toHaveLength(1)
  })
})

test('interrupted flows are resumed a few at a time, and the start does not wait for all', async () => {
  const ends: (() => void)[] = []
  const begun: string[] = []
  const ids = Array.from({ length: 9 }, (_, index) => `f${index}`)
  const interrupted = (id: string): StoredFlow => ({
    ...newFlow('thread', { id }),
    status: 'FAILED',
    ownerEpoch: 1,
    simulated: false,
    runOptions: {},
    error: new OrchestratorError('FLOW_INTERRUPTED', 'its process is gone').toJSON(),
  })
  const resumption = createResumption({
    flows: { findInterrupted: async () => ids, find: async (flowId) => interrupted(flowId) },
    start: async (flowId) => {
      begun.push(flowId)
      return { ended: new Promise<void>((resolve) => ends.push(resolve)) }
    },
    logger: { warn: () => {} },
    concurrency: 3,
  })
  await resumption.start()
  expect(begun).toEqual(['f0', 'f1', 'f2'])
  ends[0]?.()
  await expect.poll(() => begun).toEqual(['f0', 'f1', 'f2', 'f3'])
  resumption.stop()
  for (const end of ends) end()
  await new Promise((resolve) => setImmediate(resolve))
  expect(begun).toHaveLength(4)
})

test('a flow is resumed with the options of its execution, without what only its row needs', async () => {
  const stored = { streaming: true, apiKeyId: 'key-1', inputMessageId: 'message', recordedEpoch: 1 }
  const error = new OrchestratorError('FLOW_INTERRUPTED', 'its process is gone').toJSON()
  const started: object[] = []
  const resumption = createResumption({
    flows: {
      findInterrupted: async () => ['f0'],
      find: async (): Promise<StoredFlow> => ({
        ...newFlow('t'),
        id: 'f0',
        status: 'FAILED',
        ownerEpoch: 2,
        runOptions: stored,
        error,
      }),
    },
    start: async (_flowId, _userId, options) => {
      started.push(options)
      return { ended: Promise.resolve() }
    },
    logger: { warn: () => {} },
  })
  await resumption.start()
  expect(started).toEqual([{ streaming: true, apiKeyId: 'key-1' }])
})

test('the API key of a flow stays with it when another caller continues it', async () => {
  const { orchestrator, flowId, store } = await halfDoneInMemory()
  const keyOf = async () => (await store.flows.find(flowId))?.runOptions
  const kept = { apiKeyId: 'key-1', resumeAfterCrash: false }
  expect(await keyOf()).toEqual(kept)
  await orchestrator.executeStep(flowId, 'a', USER)
  expect(await keyOf()).toEqual(kept)
})
