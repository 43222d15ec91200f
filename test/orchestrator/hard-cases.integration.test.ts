import { afterEach, describe, expect, test } from 'vitest'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import type { FlowDefinitionInput } from '../../src/index.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { chain, step } from '../support/flows.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres } from '../support/postgres.ts'
import { type ScriptedFlow, scripted, USER } from '../support/scripted-flow.ts'

let flow: ScriptedFlow | undefined
afterEach(async () => {
  await flow?.polyphony.close()
  flow = undefined
})

const never = () => new Promise<never>(() => {})

describe('functions of the definition that never come back', () => {
  test('a prompt function that never settles ends with the timeout of its step', async () => {
    flow = await scripted([])
    await expect(flow.run(chain(step('a', { prompt: never, timeout: 20 })))).rejects.toMatchObject({ code: 'STEP_TIMEOUT' })
  })

  test('a prompt function and a condition function that never settle end with the flow', async () => {
    flow = await scripted(['one', 'two'])
    await expect(flow.run(chain(step('a', { prompt: never })), { timeout: { flow: 20 } })).rejects.toMatchObject({
      code: 'FLOW_TIMEOUT',
    })
    const signal = AbortSignal.timeout(20)
    await expect(flow.run(chain(step('a', { condition: never })), { signal })).rejects.toMatchObject({ code: 'FLOW_CANCELLED' })
  })
})

describe('arguments', () => {
  test('invalid arguments are refused by name', async () => {
    flow = await scripted(['one'])
    const { orchestrator } = flow.polyphony
    const { id } = await orchestrator.createFlow(flow.threadId, USER, chain(step('a')))
    const circular: Record<string, unknown> = {}
    circular.self = circular
    const wrong: readonly (readonly [unknown, string])[] = [
      [{ metadata: circular }, 'metadata'],
      [{ metadata: { big: 1n } }, 'metadata'],
      [{ input: 5 }, 'input'],
      [{ timeout: { flow: Number.NaN } }, 'timeout.flow'],
      [{ onUpdate: 5 }, 'onUpdate'],
      [{ inptu: 'x' }, 'inptu'],
    ]
    for (const [options, name] of wrong) {
      await expect(Reflect.apply(orchestrator.executeFlow, orchestrator, [id, USER, options])).rejects.toMatchObject({
        code: 'INPUT_INVALID',
        message: expect.stringContaining(name),
      })
    }
    await expect(Reflect.apply(orchestrator.createFlow, orchestrator, [undefined, USER, chain(step('a'))])).rejects.toMatchObject(
      {
        code: 'INPUT_INVALID',
        message: expect.stringContaining('threadId'),
      },
    )
    expect(flow.provider.requests).toHaveLength(0)
  })

  test('a timeout that is too long for a timer of Node counts as none', async () => {
    flow = await scripted(['one'])
    expect(await flow.run({ ...chain(step('a')), maxExecutionTime: 30 * 86_400_000 })).toMatchObject({ finalOutput: 'one' })
  })

  test('metadata is a copy that no step can change', async () => {
    flow = await scripted(['one', 'two'])
    const metadata = { deep: { k: 'v' } }
    const seen: unknown[] = []
    const definition = chain(
      step('a', {
        prompt: (context) => {
          seen.push(Object.isFrozen(context.metadata.deep))
          return 'do a'
        },
      }),
    )
    await flow.polyphony.dataSharing.set(USER, 'scripted', { allowConversationHistory: true })
    await flow.run(definition, { metadata })
    metadata.deep.k = 'changed'
    expect(seen).toEqual([true])
  })
})

describe('what a provider is handed', () => {
  test('a provider receives only the request, without the names of withheld items', async () => {
    flow = await scripted(['one'])
    await flow.run(chain(step('a')))
    expect(Object.keys(flow.provider.requests[0] ?? {}).sort()).toEqual([
      'arguments',
      'cacheKey',
      'hostedTools',
      'maxHostedCalls',
      'messages',
      'model',
      'outputSchema',
      'settings',
      'strict',
      'system',
      'toolChoice',
      'tools',
    ])
  })

  test('an error thrown by a custom provider is the failure of the step, not INTERNAL', async () => {
    flow = await scripted([new TypeError('x is not a function')])
    await expect(flow.run(chain(step('a')))).rejects.toMatchObject({ code: 'STEP_FAILED' })
  })

  test('attachments of the prompt are sent again when the flow is resumed and rerun', async () => {
    const replies = [new Error('broken'), 'one', 'two']
    flow = await scripted((_, index) => replies[index] ?? 'none')
    const { orchestrator, conversations, dataSharing } = flow.polyphony
    await dataSharing.set(USER, 'scripted', { allowAttachments: true })
    const attachments = [{ name: 'notes.txt', mediaType: 'text/plain', text: 'CANARY' }]
    await conversations.addMessage(flow.threadId, USER, { role: 'user', content: 'read it', attachments })
    const { id } = await orchestrator.createFlow(flow.threadId, USER, chain(step('a', { prompt: 'original' })))
    await expect(orchestrator.executeFlow(id, USER)).rejects.toMatchObject({ code: 'STEP_FAILED' })
    await orchestrator.executeFlow(id, USER)
    await orchestrator.executeFlow((await orchestrator.rerunFlow(id, USER)).id, USER)
    expect(flow.provider.requests.map((request) => JSON.stringify(request).includes('CANARY'))).toEqual([true, true, true])
  })
})

describe('lists and repetitions', () => {
  test('a list shows the outcome of a flow, but neither its input nor its outputs', async () => {
    flow = await scripted(['OUTPUT one', 'OUTPUT two'])
    const { flowId } = await flow.run(chain(step('a'), step('b')))
    const [listed] = await flow.polyphony.orchestrator.listFlows(flow.threadId, USER)
    const whole = await flow.polyphony.orchestrator.getFlow(flowId, USER)
    const { stepResults, result, input, metadata, ...facts } = whole
    const { finalOutput, steps, ...figures } = result ?? {}
    expect(finalOutput).toBe('OUTPUT two')
    const stepStates = stepResults.map(({ path, status }) => ({ path, status }))
    expect(listed).toEqual({ ...facts, inputStart: input, stepStates, result: figures })
    expect(listed).toMatchObject({ currentStepIndex: 1, status: 'COMPLETED' })
    expect(JSON.stringify(listed)).not.toContain('OUTPUT')
  })

  test('a list and a status report agree about a flow whatever its steps wrote', async () => {
    flow = await scripted(['one', new OrchestratorError('PROVIDER_REJECTED', 'no')])
    const { orchestrator } = flow.polyphony
    await expect(flow.run(chain(step('a'), step('b'), step('c')))).rejects.toMatchObject({ code: 'PROVIDER_REJECTED' })
    const [listed] = await orchestrator.listFlows(flow.threadId, USER)
    const report = await orchestrator.getFlowStatus(listed?.id ?? '', USER)
    expect(listed).toMatchObject({ currentStepIndex: 1, status: 'FAILED' })
    expect(report).toMatchObject({ currentStepIndex: 1, completedSteps: 1, failedSteps: ['b'], status: 'FAILED' })
  })

  test('a flow continues with the result of a step that was repeated alone', async () => {
    flow = await scripted(['first', 'second', 'end'])
    const { orchestrator } = flow.polyphony
    const { id } = await orchestrator.createFlow(
      flow.threadId,
      USER,
      chain(step('a'), step('b', { prompt: 'do b {{ previous }}' })),
    )
    await orchestrator.executeStep(id, 'a', USER, 'x')
    expect(await orchestrator.executeStep(id, 'a', USER, 'x')).toMatchObject({ iteration: 2, output: 'second' })
    await orchestrator.executeFlow(id, USER, { input: 'x' })
    expect(flow.provider.requests[2]?.messages.at(-1)?.content).toContain('do b second')
  })

  test('a flow cannot be created in a thread that was just deleted', async () => {
    flow = await scripted([])
    const { orchestrator, conversations } = flow.polyphony
    await orchestrator.listFlows(flow.threadId, USER)
    await conversations.deleteThread(flow.threadId, USER)
    await expect(orchestrator.createFlow(flow.threadId, USER, chain(step('a')))).rejects.toMatchObject({
      code: 'THREAD_NOT_FOUND',
    })
  })
})

test('a thread into which a running flow saves messages cannot be deleted, so that no paid answer is lost', async () => {
  const refused: unknown[] = []
  flow = await scripted(async () => {
    refused.push(await flow?.polyphony.conversations.deleteThread(flow.threadId, USER).catch((thrown: unknown) => thrown))
    return 'answer'
  })
  const result = await flow.run(chain(step('a')), { saveMessages: true })
  expect(refused).toMatchObject([{ code: 'FLOW_RUNNING' }])
  const messages = await flow.polyphony.conversations.getMessages(flow.threadId, USER)
  expect(messages).toMatchObject([{ id: result.steps[0]?.messageId, role: 'assistant', content: 'answer' }])
})

describe('several instances in one process', () => {
  test('a later instance in one process leaves running flows of an earlier one alone', async () => {
    const database = await openTestPostgres()
    const provider = createScriptedProvider({ id: 'scripted', replies: [{ text: 'one', delayMs: 40 }] })
    const open = () => openTestPolyphony({ database: database.url, providers: { scripted: provider } })
    const first = await open()
    const thread = await first.conversations.createThread(USER, {})
    const { id } = await first.orchestrator.createFlow(thread.id, USER, chain(step('a')))
    const running = first.orchestrator.executeFlow(id, USER, { input: 'x' })
    const second = await open()
    expect(await running).toMatchObject({ status: 'COMPLETED' })
    await second.close()
    await first.close()
    await database.drop()
  })
})

describe('one step alone, cut short', () => {
  test('cancelFlow and close end a single executed step and leave the flow unchanged', async () => {
    flow = await scripted(() => ({ text: '', hang: true }))
    const { orchestrator } = flow.polyphony
    const { id } = await orchestrator.createFlow(flow.threadId, USER, chain(step('a')))
    const first = expect(orchestrator.executeStep(id, 'a', USER, 'x')).rejects.toMatchObject({ code: 'FLOW_CANCELLED' })
    while (flow.provider.requests.length < 1) await new Promise((resolve) => setTimeout(resolve, 1))
    expect(await orchestrator.cancelFlow(id, USER)).toMatchObject({ status: 'PENDING' })
    await first
    const second = expect(orchestrator.executeStep(id, 'a', USER, 'x')).rejects.toMatchObject({ code: 'FLOW_CANCELLED' })
    while (flow.provider.requests.length < 2) await new Promise((resolve) => setTimeout(resolve, 1))
    await flow.polyphony.close()
    await second
  })
})

describe('what leaves by side doors', () => {
  const secret = 'SECRET'

  test('samples of another provider do not count as own output', async () => {
    const { OrchestratorError } = await import('../../src/errors/orchestrator-error.ts')
    const other = createScriptedProvider({ id: 'other', replies: () => 'from other' })
    const replies = [secret, new OrchestratorError('PROVIDER_REJECTED', 'no')]
    flow = await scripted((_, index) => replies[index] ?? 'none', { other })
    const definition = chain(
      step('vote', { samples: 2, fallbacks: [{ provider: 'other', model: 'm' }] }),
      step('next', { model: 'other/m', prompt: 'use {{ steps.vote.samples | join: "," }}' }),
    )
    await expect(flow.run(definition)).rejects.toMatchObject({ code: 'DATA_SHARING_DENIED' })
    expect(JSON.stringify(other.requests)).not.toContain(secret)
  })

  test('a prompt function sees neither attachments nor metadata of the history, and no more output than the limit allows', async () => {
    flow = await scripted(['x'.repeat(5_000), 'end'])
    const { conversations, dataSharing } = flow.polyphony
    await dataSharing.set(USER, 'scripted', { allowConversationHistory: true })
    const attachments = [{ name: 'notes.txt', mediaType: 'text/plain', text: secret }]
    await conversations.addMessage(flow.threadId, USER, {
      role: 'user',
      content: 'earlier',
      attachments,
      metadata: { note: secret },
    })
    const definition: FlowDefinitionInput = {
      ...chain(
        step('a'),
        step('b', { prompt: (context) => JSON.stringify([context.threadHistory, context.previousStepOutput]) }),
      ),
      contextPolicy: { shareConversationHistory: true, maxSharedTokens: 100 },
    }
    await flow.run(definition)
    const sent = JSON.stringify(flow.provider.requests[1])
    expect(sent).not.toContain(secret)
    expect(sent.length).toBeLessThan(1_500)
  })

  test('a refused step is recorded in its result and in an update', async () => {
    const other = createScriptedProvider({ id: 'other', replies: [] })
    flow = await scripted(['one'], { other })
    await expect(flow.run(chain(step('a'), step('b', { model: 'other/m', inputFrom: 'a' })))).rejects.toMatchObject({
      code: 'DATA_SHARING_DENIED',
    })
    const { orchestrator } = flow.polyphony
    const [{ id } = { id: '' }] = await orchestrator.listFlows(flow.threadId, USER)
    const stored = await orchestrator.getFlow(id, USER)
    expect(stored.stepResults[1]?.withheld).toMatchObject([{ piece: 'a', from: 'scripted', to: 'other', allowed: false }])
    expect(flow.updates.filter(({ type }) => type === 'context_withheld')).toHaveLength(1)
  })
})

describe('figures', () => {
  test('implausible usage figures count as unknown', async () => {
    const usage = { inputTokens: 3e9, outputTokens: 1.5, totalTokens: 1e308, source: 'reported' as const }
    flow = await scripted([{ text: 'one', usage }])
    const result = await flow.run(chain(step('a')))
    expect(result.steps[0]?.usage).toEqual({ source: 'unknown' })
    expect(result).toMatchObject({ totalTokens: 0, unpricedSteps: 1 })
  })

  test('spending that a run had to assume still counts in the next one', async () => {
    const { OrchestratorError } = await import('../../src/errors/orchestrator-error.ts')
    flow = await scripted(() => new OrchestratorError('PROVIDER_STREAM_CUT', 'cut'))
    const { orchestrator } = flow.polyphony
    const definition: FlowDefinitionInput = {
      ...chain(step('a', { maxRetries: 0, settings: { maxTokens: 50 } })),
      limits: { maxTokens: 100 },
    }
    const { id } = await orchestrator.createFlow(flow.threadId, USER, definition)
    await expect(orchestrator.executeFlow(id, USER, { input: 'x' })).rejects.toMatchObject({ code: 'PROVIDER_STREAM_CUT' })
    await expect(orchestrator.executeFlow(id, USER)).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
    expect(flow.provider.requests).toHaveLength(1)
  })

  test('a step with samples is one step of the limit', async () => {
    flow = await scripted(() => 'same')
    const result = await flow.run({ ...chain(step('vote', { samples: 3 })), limits: { maxSteps: 1 } })
    expect(result.steps[0]?.samples).toHaveLength(3)
  })
})

describe('what providers and checkFlow are told', () => {
  test('a schema given as data is sent to the provider unchanged', async () => {
    flow = await scripted(['{"code":"ab"}'])
    const outputSchema = { type: 'object', properties: { code: { type: 'string', pattern: '^[a-z]+$' } }, required: ['code'] }
    await flow.run(chain(step('a', { outputSchema })))
    expect(flow.provider.requests[0]?.outputSchema).toEqual(outputSchema)
  })

  test('checkFlow reports both outputs that may be the latest for a step after a loop', async () => {
    const other = createScriptedProvider({ id: 'other', replies: [] })
    flow = await scripted([], { other })
    const definition: FlowDefinitionInput = {
      name: 'c',
      type: 'critique',
      steps: [
        step('draft'),
        step('critic', { action: 'critique' }),
        step('refine', { action: 'refine' }),
        step('last', { action: 'summarize', model: 'other/m', prompt: 'Sum up {{ input }}' }),
      ],
    }
    // The loop may end with a refinement, or with a review that approves of the draft.
    expect((await flow.polyphony.orchestrator.checkFlow(definition, USER)).problems).toMatchObject([
      { code: 'DATA_SHARING_DENIED', path: 'steps[3]', details: { piece: 'critic' } },
      { code: 'DATA_SHARING_DENIED', path: 'steps[3]', details: { piece: 'refine' } },
    ])
  })
})
