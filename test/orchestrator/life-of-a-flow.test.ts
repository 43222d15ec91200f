import { afterEach, describe, expect, test } from 'vitest'
import type { FlowDefinitionInput, FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { chain, rejected, step, until } from '../support/flows.ts'
import { lastMessage, type ScriptedFlow, scripted, USER } from '../support/scripted-flow.ts'

let flow: ScriptedFlow | undefined
afterEach(async () => {
  await flow?.polyphony.close()
  flow = undefined
})

describe('the prompt of a run', () => {
  test('the prompt comes from the option, then the definition, then the newest user message, and is missing otherwise', async () => {
    flow = await scripted(() => 'ok')
    const { orchestrator, conversations } = flow.polyphony
    const definition = chain(step('a', { prompt: 'original' }))
    const run = async (more: Partial<FlowDefinitionInput>, input?: string) => {
      const created = await orchestrator.createFlow(flow?.threadId ?? '', USER, { ...definition, ...more })
      await orchestrator.executeFlow(created.id, USER, { input })
      return lastMessage(flow?.provider as ScriptedFlow['provider'], (flow?.provider.requests.length ?? 0) - 1)
    }
    await expect(run({})).rejects.toMatchObject({ code: 'FLOW_INPUT_MISSING' })
    await conversations.addMessage(flow.threadId, USER, { role: 'user', content: 'older' })
    await conversations.addMessage(flow.threadId, USER, { role: 'user', content: 'from the thread' })
    expect(await run({})).toBe('from the thread')
    expect(await run({ input: 'from the definition' })).toBe('from the definition')
    expect(await run({ input: 'from the definition' }, 'from the option')).toBe('from the option')
  })
})

describe('resuming', () => {
  test('a failed flow resumes where it stopped, without repeating recorded calls', async () => {
    const replies = ['one', rejected(), 'two', 'three']
    flow = await scripted((_, index) => replies[index] ?? 'none')
    const { orchestrator } = flow.polyphony
    const created = await orchestrator.createFlow(flow.threadId, USER, chain(step('a'), step('b'), step('c')))
    await expect(orchestrator.executeFlow(created.id, USER, { input: 'x' })).rejects.toMatchObject({ code: 'PROVIDER_REJECTED' })
    const before = await orchestrator.getFlowStatus(created.id)
    expect(before).toMatchObject({ status: 'FAILED', failedSteps: ['b'], error: { code: 'PROVIDER_REJECTED' } })
    const result = await orchestrator.executeFlow(created.id, USER)
    expect(result.finalOutput).toBe('three')
    expect(flow.provider.requests).toHaveLength(4)
    const { stepResults } = await orchestrator.getFlow(created.id, USER)
    expect(stepResults.find(({ stepId }) => stepId === 'b')?.attempts.map(({ number }) => number)).toEqual([1, 2])
  })

  test('a completed flow is not run again; a rerun is a new flow that keeps earlier results', async () => {
    flow = await scripted(['one', 'two', 'again'])
    const { orchestrator } = flow.polyphony
    const created = await orchestrator.createFlow(
      flow.threadId,
      USER,
      chain(step('a'), step('b', { prompt: 'do b {{ previous }}' })),
    )
    await orchestrator.executeFlow(created.id, USER, { input: 'x' })
    await expect(orchestrator.executeFlow(created.id, USER)).rejects.toMatchObject({ code: 'FLOW_ALREADY_COMPLETED' })
    const rerun = await orchestrator.rerunFlow(created.id, USER, { fromStep: 'b' })
    expect(rerun).toMatchObject({ parentFlowId: created.id, status: 'PENDING' })
    const result = await orchestrator.executeFlow(rerun.id, USER)
    expect(result.finalOutput).toBe('again')
    expect(flow.provider.requests).toHaveLength(3)
    expect(lastMessage(flow.provider, 2)).toContain('do b one')
  })
})

describe('cancelling', () => {
  test('cancelling ends a running call, and executeFlow rejects with FLOW_CANCELLED', async () => {
    flow = await scripted([{ text: '', hang: true }, 'resumed'])
    const { orchestrator } = flow.polyphony
    const created = await orchestrator.createFlow(flow.threadId, USER, chain(step('a')))
    const running = orchestrator.executeFlow(created.id, USER, { input: 'x', onUpdate: (update) => flow?.updates.push(update) })
    const outcome = expect(running).rejects.toMatchObject({ code: 'FLOW_CANCELLED' })
    await until(() => flow?.provider.requests.length === 1)
    const status = await orchestrator.cancelFlow(created.id, USER)
    expect(status).toMatchObject({ status: 'CANCELLED' })
    await outcome
    expect(flow.updates.at(-1)?.type).toBe('flow_cancelled')
    const { stepResults } = await orchestrator.getFlow(created.id, USER)
    expect(stepResults).toMatchObject([{ stepId: 'a', status: 'CANCELLED', attempts: [{ aborted: true }] }])
    expect(await orchestrator.executeFlow(created.id, USER)).toMatchObject({ finalOutput: 'resumed' })
  })

  test('the signal of the caller cancels the flow', async () => {
    flow = await scripted([{ text: '', hang: true }])
    const { orchestrator } = flow.polyphony
    const controller = new AbortController()
    const created = await orchestrator.createFlow(flow.threadId, USER, chain(step('a')))
    const outcome = expect(
      orchestrator.executeFlow(created.id, USER, { input: 'x', signal: controller.signal }),
    ).rejects.toMatchObject({
      code: 'FLOW_CANCELLED',
    })
    await until(() => flow?.provider.requests.length === 1)
    controller.abort()
    await outcome
  })

  test('a flow that never ran can be cancelled, and a completed one stays completed', async () => {
    flow = await scripted(['one'])
    const { orchestrator } = flow.polyphony
    const created = await orchestrator.createFlow(flow.threadId, USER, chain(step('a')))
    expect(await orchestrator.cancelFlow(created.id, USER)).toMatchObject({ status: 'CANCELLED' })
    await orchestrator.executeFlow(created.id, USER, { input: 'x' })
    expect(await orchestrator.cancelFlow(created.id, USER)).toMatchObject({ status: 'COMPLETED' })
  })
})

describe('timeouts', () => {
  test('a step over its timeout fails with STEP_TIMEOUT and is not retried', async () => {
    flow = await scripted([{ text: '', hang: true }])
    await expect(flow.run(chain(step('a', { timeout: 20 })))).rejects.toMatchObject({
      code: 'STEP_TIMEOUT',
      details: { stepId: 'a' },
    })
    expect(flow.provider.requests).toHaveLength(1)
  })

  test('a flow over its timeout fails with FLOW_TIMEOUT', async () => {
    flow = await scripted([{ text: '', hang: true }])
    await expect(flow.run(chain(step('a')), { timeout: { flow: 20 } })).rejects.toMatchObject({ code: 'FLOW_TIMEOUT' })
    expect(flow.updates.at(-1)).toMatchObject({ type: 'error', data: { code: 'FLOW_TIMEOUT' } })
  })
})

describe('two at once', () => {
  test('a running flow cannot be started again or deleted', async () => {
    flow = await scripted([{ text: '', hang: true }])
    const { orchestrator } = flow.polyphony
    const created = await orchestrator.createFlow(flow.threadId, USER, chain(step('a')))
    const both = [
      orchestrator.executeFlow(created.id, USER, { input: 'x' }),
      orchestrator.executeFlow(created.id, USER, { input: 'x' }),
    ]
    const settled = Promise.allSettled(both)
    await until(() => flow?.provider.requests.length === 1)
    await expect(orchestrator.deleteFlow(created.id, USER)).rejects.toMatchObject({ code: 'FLOW_RUNNING' })
    await orchestrator.cancelFlow(created.id, USER)
    const codes = (await settled).map((one) => (one.status === 'rejected' ? one.reason.code : 'resolved'))
    expect(codes.sort()).toEqual(['FLOW_ALREADY_RUNNING', 'FLOW_CANCELLED'])
  })
})

describe('updates', () => {
  test('updates are numbered from 1 without a gap, and the final one comes last', async () => {
    flow = await scripted([{ text: 'one two', chunks: ['one ', 'two'] }])
    await flow.run(chain(step('a')))
    expect(flow.updates.map(({ seq }) => seq)).toEqual(flow.updates.map((_, index) => index + 1))
    expect(flow.updates.map(({ type }) => type)).toEqual([
      'flow_start',
      'step_start',
      'step_progress',
      'step_progress',
      'step_complete',
      'flow_complete',
    ])
  })

  test('updates can be streamed from any sequence number, during the run and after it', async () => {
    flow = await scripted(async (_, index) => {
      await new Promise((resolve) => setTimeout(resolve, 5))
      return { text: `answer ${index}`, chunks: ['answer ', String(index)] }
    })
    const { orchestrator } = flow.polyphony
    const created = await orchestrator.createFlow(flow.threadId, USER, chain(step('a'), step('b')))
    await orchestrator.startFlow(created.id, USER, { input: 'x', streaming: true })
    const live: FlowUpdate[] = []
    for await (const update of orchestrator.streamFlow(created.id, USER)) live.push(update)
    const late: FlowUpdate[] = []
    for await (const update of orchestrator.streamFlow(created.id, USER, { afterSeq: 3 })) late.push(update)
    expect(live.map(({ seq }) => seq)).toEqual(live.map((_, index) => index + 1))
    expect(live.at(-1)).toMatchObject({ type: 'flow_complete', data: { finalOutput: 'answer 1' } })
    expect(late.map(({ seq, type }) => [seq, type])).toEqual(live.slice(3).map(({ seq, type }) => [seq, type]))
    expect(late.find(({ type }) => type === 'step_complete')).toMatchObject({ data: { output: 'answer 0' } })
  })

  test('a listener that throws does not affect the flow', async () => {
    flow = await scripted(['fine'])
    const result = await flow.run(chain(step('a')), {
      onUpdate: () => {
        throw new Error('listener')
      },
    })
    expect(result.finalOutput).toBe('fine')
  })

  test('an error reaches onUpdate before the promise rejects', async () => {
    flow = await scripted([rejected()])
    const order: string[] = []
    await flow.run(chain(step('a')), { onUpdate: ({ type }) => order.push(type) }).catch(() => order.push('rejected'))
    expect(order.slice(-2)).toEqual(['error', 'rejected'])
  })
})

describe('callbacks of the definition', () => {
  test('callbacks of the definition are called for steps, for the end and for errors', async () => {
    flow = await scripted(['one', rejected()])
    const told: string[] = []
    const definition: FlowDefinitionInput = {
      ...chain(step('a')),
      onStepComplete: ({ stepId }) => told.push(`step ${stepId}`),
      onFlowComplete: ({ finalOutput }) => told.push(`flow ${finalOutput}`),
      onError: ({ code, stepId }) => told.push(`error ${code} ${stepId}`),
    }
    await flow.run(definition)
    await flow.run(definition).catch(() => {})
    expect(told).toEqual(['step a', 'flow one', 'step a', 'error PROVIDER_REJECTED a'])
  })
})

describe('one step alone', () => {
  test('a single step runs with the recorded results before it, and a later run of the flow does not pay for it again', async () => {
    flow = await scripted(['one', 'two'])
    const { orchestrator } = flow.polyphony
    const created = await orchestrator.createFlow(
      flow.threadId,
      USER,
      chain(step('a'), step('b', { prompt: 'do b {{ previous }}' })),
    )
    expect(await orchestrator.executeStep(created.id, 'a', USER, 'x')).toMatchObject({
      stepId: 'a',
      output: 'one',
      status: 'SUCCESS',
    })
    expect(await orchestrator.getFlowStatus(created.id)).toMatchObject({ status: 'PENDING' })
    const result = await orchestrator.executeFlow(created.id, USER, { input: 'x' })
    expect(result.finalOutput).toBe('two')
    expect(flow.provider.requests).toHaveLength(2)
  })

  test('the error for an unknown step lists the known ones', async () => {
    flow = await scripted([])
    const created = await flow.polyphony.orchestrator.createFlow(flow.threadId, USER, chain(step('a')))
    await expect(flow.polyphony.orchestrator.executeStep(created.id, 'z', USER)).rejects.toMatchObject({ code: 'STEP_NOT_FOUND' })
  })
})

describe('messages of the thread', () => {
  test('saveMessages writes every output with the id of its flow', async () => {
    flow = await scripted(['one', 'two'])
    const result = await flow.run(chain(step('a'), step('b')), { saveMessages: true })
    const messages = await flow.polyphony.conversations.getMessages(flow.threadId, USER)
    expect(messages.map(({ role, content }) => [role, content])).toEqual([
      ['assistant', 'one'],
      ['assistant', 'two'],
    ])
    expect(messages[0]?.metadata).toMatchObject({ orchestrationFlowId: result.flowId, provider: 'scripted', stepId: 'a' })
    expect(result.steps[0]?.messageId).toBe(messages[0]?.id)
  })
})

describe('rights', () => {
  test('a flow of another user gives the same error as an unknown one', async () => {
    flow = await scripted(['one'])
    const { orchestrator } = flow.polyphony
    const created = await orchestrator.createFlow(flow.threadId, USER, chain(step('a')))
    for (const call of [
      orchestrator.getFlow(created.id, 'stranger'),
      orchestrator.executeFlow(created.id, 'stranger', { input: 'x' }),
      orchestrator.cancelFlow(created.id, 'stranger'),
      orchestrator.deleteFlow(created.id, 'stranger'),
      orchestrator.rerunFlow(created.id, 'stranger'),
      orchestrator.getFlowStatus(created.id, 'stranger'),
      orchestrator.executeStep(created.id, 'a', 'stranger'),
      orchestrator.streamFlow(created.id, 'stranger').next(),
    ]) {
      await expect(call).rejects.toMatchObject({ code: 'FLOW_NOT_FOUND' })
    }
    await expect(orchestrator.createFlow(flow.threadId, 'stranger', chain(step('a')))).rejects.toMatchObject({
      code: 'THREAD_NOT_FOUND',
    })
  })

  test('a user with read may view a flow but not run it', async () => {
    flow = await scripted(['one'])
    const { orchestrator, permissions } = flow.polyphony
    const created = await orchestrator.createFlow(flow.threadId, USER, chain(step('a')))
    await permissions.grant(flow.threadId, USER, 'reader', ['read'])
    expect(await orchestrator.getFlow(created.id, 'reader')).toMatchObject({ id: created.id })
    await expect(orchestrator.executeFlow(created.id, 'reader', { input: 'x' })).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
      details: { right: 'write' },
    })
    await expect(orchestrator.deleteFlow(created.id, 'reader')).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
  })
})

describe('data sharing', () => {
  const across = (more: Partial<FlowStepInput> = {}): FlowDefinitionInput =>
    chain(step('a'), step('b', { model: 'other/m', prompt: 'do b', ...more }))

  test('a required output that may not be shared fails the step before the call, naming both providers and the rule', async () => {
    const other = createScriptedProvider({ id: 'other', replies: ['two'] })
    flow = await scripted(['secret'], { other })
    await expect(flow.run(across({ inputFrom: 'a' }))).rejects.toMatchObject({
      code: 'DATA_SHARING_DENIED',
      details: { stepId: 'b', piece: 'a', from: 'scripted', to: 'other' },
    })
    expect(other.requests).toHaveLength(0)
  })

  test('an offered output is withheld and recorded, and the flow continues', async () => {
    const other = createScriptedProvider({ id: 'other', replies: ['two'] })
    flow = await scripted(['secret'], { other })
    const result = await flow.run(across({ inputFrom: 'all' }))
    expect(JSON.stringify(other.requests)).not.toContain('secret')
    expect(result.steps[1]?.withheld).toMatchObject([
      { kind: 'step_output', piece: 'a', from: 'scripted', to: 'other', allowed: false },
    ])
    expect(flow.updates.some(({ type }) => type === 'context_withheld')).toBe(true)
  })

  test('a policy of the user allows the output', async () => {
    const other = createScriptedProvider({ id: 'other', replies: ['two'] })
    flow = await scripted(['shared'], { other })
    await flow.polyphony.dataSharing.set(USER, 'other', { allowCrossProviderContext: true })
    await flow.run(across({ inputFrom: 'a' }))
    expect(JSON.stringify(other.requests)).toContain('shared')
  })

  test('a prompt function that reads a forbidden output fails, and one that does not succeeds', async () => {
    const other = createScriptedProvider({ id: 'other', replies: ['two'] })
    flow = await scripted(() => 'secret', { other })
    await expect(flow.run(across({ prompt: (context) => `use ${context.previousStepOutput}` }))).rejects.toMatchObject({
      code: 'DATA_SHARING_DENIED',
    })
    expect(other.requests).toHaveLength(0)
    await flow.run(across({ prompt: (context) => `just ${context.originalPrompt}` }))
    expect(JSON.stringify(other.requests)).not.toContain('secret')
  })

  test('checkFlow treats dependsOn as the source of the input', async () => {
    const other = createScriptedProvider({ id: 'other', replies: [] })
    flow = await scripted([], { other })
    const definition: FlowDefinitionInput = {
      name: 'g',
      type: 'graph',
      steps: [step('a'), step('b', { model: 'other/m', dependsOn: ['a'], prompt: 'Mend: {{ input }}' })],
    }
    const check = await flow.polyphony.orchestrator.checkFlow(definition, USER)
    expect(check.problems).toMatchObject([{ code: 'DATA_SHARING_DENIED', path: 'steps[1]' }])
  })

  test('checkFlow finds missing consent before the run', async () => {
    const other = createScriptedProvider({ id: 'other', replies: [] })
    flow = await scripted([], { other })
    const check = await flow.polyphony.orchestrator.checkFlow(across({ inputFrom: 'a' }), USER)
    expect(check.ok).toBe(false)
    expect(check.problems).toMatchObject([{ code: 'DATA_SHARING_DENIED', path: 'steps[1]' }])
  })
})

describe('definitions with functions', () => {
  test('definitions with functions run in the process that defined them', async () => {
    flow = await scripted(['one'])
    const definition: FlowDefinitionInput = { ...chain(step('a', { prompt: () => 'do a' })), name: 'coded', version: '2' }
    const { orchestrator } = flow.polyphony
    const created = await orchestrator.createFlow(flow.threadId, USER, definition)
    expect(await orchestrator.executeFlow(created.id, USER, { input: 'x' })).toMatchObject({ finalOutput: 'one' })
  })
})

describe('what earlier executions left', () => {
  test('a resumed flow counts its earlier attempts', async () => {
    const usage = { inputTokens: 10, outputTokens: 10, totalTokens: 20, source: 'reported' as const }
    const replies = [
      { text: 'no json', usage },
      { text: 'still none', usage },
      { text: '{"ok":true}', usage },
    ]
    flow = await scripted((_, index) => replies[index] ?? 'none')
    const { orchestrator } = flow.polyphony
    const outputSchema = { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] }
    const created = await orchestrator.createFlow(flow.threadId, USER, chain(step('a', { outputSchema })))
    await expect(orchestrator.executeFlow(created.id, USER, { input: 'x' })).rejects.toMatchObject({ code: 'OUTPUT_INVALID' })
    const result = await orchestrator.executeFlow(created.id, USER)
    expect(result.totalTokens).toBe(60)
    expect(result.steps[0]?.attempts.map(({ number }) => number)).toEqual([1, 2, 3])
    expect((await orchestrator.getFlow(created.id, USER)).result?.totalTokens).toBe(60)
  })

  test('maxSteps holds over all executions, and a raised limit lets the flow continue', async () => {
    flow = await scripted(['one', 'two', 'three'])
    const { orchestrator } = flow.polyphony
    const definition = { ...chain(step('a'), step('b'), step('c')), limits: { maxSteps: 2 } }
    const created = await orchestrator.createFlow(flow.threadId, USER, definition)
    await expect(orchestrator.executeFlow(created.id, USER, { input: 'x' })).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
    await expect(orchestrator.executeFlow(created.id, USER)).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
    const result = await orchestrator.executeFlow(created.id, USER, { limits: { maxSteps: 3 } })
    expect(result.finalOutput).toBe('three')
    expect(flow.provider.requests).toHaveLength(3)
  })

  test('a limit that is not a number is refused before anything runs', async () => {
    flow = await scripted(['one'])
    const { orchestrator } = flow.polyphony
    const created = await orchestrator.createFlow(flow.threadId, USER, chain(step('a')))
    const limits = { maxSteps: -1 }
    await expect(orchestrator.executeFlow(created.id, USER, { input: 'x', limits })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
    })
  })

  test('metadata of the first execution is available in the next one and in a rerun', async () => {
    const replies = [rejected(), 'one', 'two']
    flow = await scripted((_, index) => replies[index] ?? 'none')
    const { orchestrator, dataSharing } = flow.polyphony
    await dataSharing.set(USER, 'scripted', { allowConversationHistory: true })
    const created = await orchestrator.createFlow(flow.threadId, USER, chain(step('a', { prompt: 'do {{ metadata.k }}' })))
    const first = orchestrator.executeFlow(created.id, USER, { input: 'x', metadata: { k: 'v' } })
    await expect(first).rejects.toMatchObject({ code: 'PROVIDER_REJECTED' })
    await orchestrator.executeFlow(created.id, USER)
    const rerun = await orchestrator.rerunFlow(created.id, USER)
    await orchestrator.executeFlow(rerun.id, USER)
    expect(
      flow.provider.requests.map((_, index) => lastMessage(flow?.provider as ScriptedFlow['provider'], index).slice(0, 4)),
    ).toEqual(['do v', 'do v', 'do v'])
  })
})
