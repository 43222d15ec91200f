import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import type { PolyphonyConfigInput } from '../../../src/config/config.ts'
import type { FlowStepInput } from '../../../src/domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../../src/errors/orchestrator-error.ts'
import { createScriptedProvider, type ScriptedReplies } from '../../../src/providers/scripted.ts'
import { createMemoryStore } from '../../../src/repositories/memory/memory-store.ts'
import { openMortalProcess } from '../../support/mortal-process.ts'
import { openTestPolyphony } from '../../support/polyphony.ts'
import { USER } from '../../support/scripted-flow.ts'
import { calling, createToolProvider, type ReceivedCall, toolAnswers } from '../../support/tool-world.ts'

const flowOf = (step: Partial<FlowStepInput>) => ({
  name: 'calls',
  type: 'sequential' as const,
  steps: [{ id: 'answer', model: 'scripted/m', action: 'generate' as const, tools: ['function/*'], ...step }],
})

/** A Polyphony with a function `send`, each of whose calls has another answer. */
async function open(replies: ScriptedReplies, config: PolyphonyConfigInput = {}) {
  let sends = 0
  const send = { input: z.strictObject({ text: z.string() }), run: () => `sent ${++sends}` }
  const functions = createToolProvider('function', { send })
  const provider = createScriptedProvider({ replies })
  const providers = { scripted: provider, function: functions, ...config.providers }
  const polyphony = await openTestPolyphony({ ...config, providers })
  const run = async (step: Partial<FlowStepInput>) => {
    const { id: threadId } = await polyphony.conversations.createThread(USER, {})
    const { id } = await polyphony.orchestrator.createFlow(threadId, USER, flowOf(step))
    return polyphony.orchestrator.executeFlow(id, USER, { input: 'x' })
  }
  return { polyphony, functions, provider, run }
}

describe('a call of a tool', () => {
  test('is made although the step has a cache: equal calls of one turn, and of another flow, have their effects', async () => {
    const twice = calling(['send', { text: 'hi' }], ['send', { text: 'hi' }])
    const { polyphony, functions, provider, run } = await open([twice, 'one', calling(['send', { text: 'hi' }]), 'two'])
    await run({ cache: true })
    expect(provider.requests[1] && toolAnswers(provider.requests[1])).toEqual(['sent 1', 'sent 2'])
    await run({ cache: true })
    expect(functions.received).toHaveLength(3)
    await polyphony.close()
  })

  test('with arguments of more levels than a database can store is answered, and not made', async () => {
    const { polyphony, functions, provider, run } = await open([
      calling(['send', `${'{"text":'.repeat(5_000)}1${'}'.repeat(5_000)}`]),
      'done',
    ])
    const { steps } = await run({})
    expect(provider.requests[1] && toolAnswers(provider.requests[1])).toMatchObject([
      expect.stringContaining('more than 1500 levels'),
    ])
    expect(functions.received).toEqual([])
    expect(JSON.stringify(steps)).toContain('1500 levels')
    await polyphony.close()
  })

  test('has an id of its own in its turn, whatever ids the model sent', async () => {
    const toolCalls = ['call_1_2', undefined, 'call_1_2', ''].map((id) => ({ id, name: 'send', arguments: '{"text":"hi"}' }))
    const { polyphony, provider, run } = await open([{ text: '', finishReason: 'tool_calls', toolCalls }, 'done'])
    await run({})
    const results = provider.requests[1]?.messages.flatMap((message) => (message.role === 'tool' ? message.toolCallId : []))
    expect(results).toEqual(['call_1_2', 'call_1_2_', 'call_1_3', 'call_1_4'])
    await polyphony.close()
  })

  test('of many in one turn makes Node warn of nothing', async () => {
    const warnings: Error[] = []
    const onWarning = (warning: Error) => void warnings.push(warning)
    process.on('warning', onWarning)
    let openAll = () => {}
    const allStarted = new Promise<void>((resolve) => {
      openAll = resolve
    })
    let started = 0
    const wait = {
      input: z.strictObject({ text: z.string() }),
      run: async () => {
        if (++started === 15) openAll()
        await allStarted
        return 'waited'
      },
    }
    const many = Array.from({ length: 15 }, (_, index) => ['wait', { text: String(index) }] as const)
    const { polyphony, run } = await open([calling(...many), 'done'], {
      providers: { function: createToolProvider('function', { wait }) },
    })
    await run({})
    expect(started).toBe(15)
    await polyphony.close()
    // Warnings are sent in the next tick.
    await new Promise(setImmediate)
    process.off('warning', onWarning)
    expect(warnings).toEqual([])
  })

  test('of a step whose model is a pool is recorded once', async () => {
    const store = createMemoryStore()
    const send = { input: z.strictObject({}), run: () => 'sent' }
    const { orchestrator, conversations } = await openMortalProcess({
      store,
      diesAt: () => false,
      reply: ({ messages }) => (messages.length > 1 ? 'done' : calling(['send', {}])),
      tools: { send },
      config: { pools: { writers: { members: [{ model: 'scripted/m' }], strategy: 'round_robin' } } },
    })
    const { id: threadId } = await conversations.createThread(USER, {})
    const { id } = await orchestrator.createFlow(threadId, USER, flowOf({ model: 'pool/writers' }))
    const { steps } = await orchestrator.executeFlow(id, USER, { input: 'x' })
    const calls = (await store.flows.turns(id)).filter(({ data }) => data.kind === 'call')
    expect(calls).toHaveLength(1)
    expect(steps[0]?.attempts.map(({ number, model }) => [number, model])).toEqual([
      [1, 'm'],
      [2, 'send'],
      [3, 'm'],
    ])
  })

  test('that a limit refused before it was sent is made without a question when the flow is executed again', async () => {
    const store = createMemoryStore()
    const effects: unknown[] = []
    const usage = { inputTokens: 5_000, outputTokens: 5_000, totalTokens: 10_000, source: 'reported' } as const
    const { orchestrator, conversations } = await openMortalProcess({
      store,
      diesAt: () => false,
      reply: ({ messages }) => (messages.length > 1 ? 'done' : { ...calling(['send', {}]), usage }),
      tools: { send: { input: z.strictObject({}), run: () => effects.push('sent') } },
    })
    const { id: threadId } = await conversations.createThread(USER, {})
    const { id } = await orchestrator.createFlow(threadId, USER, flowOf({ settings: { maxTokens: 100 } }))
    await expect(orchestrator.executeFlow(id, USER, { input: 'x', limits: { maxTokens: 9_000 } })).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
    })
    expect(effects).toEqual([])
    expect(await store.flows.turns(id)).toMatchObject([{ data: { kind: 'turn' } }, { data: { kind: 'call' } }])
    void orchestrator.executeFlow(id, USER, { limits: { maxTokens: 90_000 } }).catch(() => undefined)
    await expect.poll(async () => (await orchestrator.getFlowStatus(id)).status).toBe('COMPLETED')
    expect(effects).toEqual(['sent'])
    const [result] = await store.flows.stepResults(id)
    expect(result?.attempts.map(({ model, error }) => [model, error])).toEqual([
      ['m', undefined],
      ['send', undefined],
      ['m', undefined],
    ])
  })

  test.each(['a cancellation', 'its own timeout'])(
    'that waits for others does not start after the step was ended by %s',
    async (end) => {
      const store = createMemoryStore()
      let running = 0
      const hang = (_: unknown, { signal }: ReceivedCall) => {
        running++
        return new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
      }
      const { orchestrator, conversations } = await openMortalProcess({
        store,
        diesAt: () => false,
        reply: () => calling(...Array.from({ length: 20 }, () => ['hang', {}] as const)),
        tools: { hang: { input: z.strictObject({}), run: hang } },
      })
      const { id: threadId } = await conversations.createThread(USER, {})
      const timeout = end === 'its own timeout' ? 500 : 60_000
      const { id } = await orchestrator.createFlow(threadId, USER, flowOf({ timeout }))
      const ended = orchestrator.executeFlow(id, USER, { input: 'x' }).catch(({ code }: { code: string }) => code)
      await expect.poll(() => running).toBe(16)
      if (end === 'a cancellation') await orchestrator.cancelFlow(id, USER)
      expect(await ended).toBe(end === 'a cancellation' ? 'FLOW_CANCELLED' : 'STEP_TIMEOUT')
      expect((await store.flows.turns(id)).filter(({ data }) => data.kind === 'call')).toHaveLength(16)
      expect(running).toBe(16)
    },
  )
})

describe('blocks of a vendor with reasoning', () => {
  /** Runs a step with two turns, whose second one `end` gives, and returns the blocks that are stored afterwards. */
  async function blocksAfter(step: Partial<FlowStepInput>, end: () => string) {
    const store = createMemoryStore()
    const vendorTurn = { provider: 'scripted', model: 'm', blocks: ['reasoning'] }
    const { orchestrator, conversations } = await openMortalProcess({
      store,
      diesAt: () => false,
      reply: ({ messages, tools }) => (!tools ? 'other' : messages.length > 1 ? end() : { ...calling(['send', {}]), vendorTurn }),
      tools: { send: { input: z.strictObject({}), run: () => 'sent' } },
    })
    const { id: threadId } = await conversations.createThread(USER, {})
    const [own] = flowOf(step).steps
    const other = { id: 'other', model: 'scripted/m', action: 'generate' as const, prompt: 'x' }
    const definition = { ...flowOf({}), steps: own ? [own, other] : [] }
    const { id } = await orchestrator.createFlow(threadId, USER, definition)
    await orchestrator.executeFlow(id, USER, { input: 'x' }).catch(() => undefined)
    const { status } = await orchestrator.getFlowStatus(id)
    const rows = await store.flows.turns(id)
    return { status, blocks: rows.flatMap(({ data }) => (data.kind === 'turn' ? [data.vendorTurn?.blocks] : [])) }
  }
  const fail = (): string => {
    throw new Error('failed')
  }

  test('are removed when their step has succeeded, unless it keeps its reasoning', async () => {
    expect(await blocksAfter({}, () => 'done')).toEqual({ status: 'COMPLETED', blocks: [undefined] })
    expect(await blocksAfter({ keepReasoning: true }, () => 'done')).toMatchObject({ blocks: [['reasoning']] })
  })

  test('stay while the flow may be executed again, and are removed when it is complete without the step', async () => {
    expect(await blocksAfter({}, fail)).toEqual({ status: 'FAILED', blocks: [['reasoning']] })
    expect(await blocksAfter({ optional: true }, fail)).toEqual({ status: 'COMPLETED', blocks: [undefined] })
  })
})

test('a list of tools that fails for a moment is asked for again before the first call', async () => {
  const { polyphony, functions, run } = await open([calling(['send', { text: 'hi' }]), 'done'], { retry: { baseDelayMs: 0 } })
  let asked = 0
  const list = functions.operations
  Object.assign(functions, {
    operations: async () => {
      if (++asked <= 2) throw new OrchestratorError('PROVIDER_UNAVAILABLE', 'starting', { retryable: true })
      return list?.()
    },
  })
  // Two failures at the check before the run.
  const { finalOutput } = await run({})
  expect(finalOutput).toBe('done')
  await polyphony.close()
})
