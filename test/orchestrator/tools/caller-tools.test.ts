import { setTimeout } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { FlowDefinitionInput, FlowStepInput } from '../../../src/domain/definition/flow-definition.ts'
import type { SignalAnswer } from '../../../src/orchestrator/waiting/signals.ts'
import type { WaitingStep } from '../../../src/orchestrator/waiting/waiting-list.ts'
import { createScriptedProvider, type ScriptedReplies } from '../../../src/providers/scripted.ts'
import { rejection } from '../../support/caught.ts'
import { openTestPolyphony } from '../../support/polyphony.ts'
import { USER } from '../../support/scripted-flow.ts'
import { calling, createToolProvider, lookUp, toolAnswers } from '../../support/tool-world.ts'

const weather = {
  name: 'weather',
  description: 'Tells the weather',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
}
const ROME = calling(['weather', { city: 'Rome' }])

function definitionWith(step: Partial<FlowStepInput> = {}, callerTools: FlowDefinitionInput['callerTools'] = [weather]) {
  const steps = [{ id: 'answer', model: 'scripted/m', action: 'generate' as const, tools: ['caller/weather'], ...step }]
  return { name: 'caller', type: 'sequential' as const, callerTools, steps }
}

/** A flow whose model calls tools of the caller. */
async function world(replies: ScriptedReplies, definition: FlowDefinitionInput = definitionWith(), callerToolMs?: number) {
  const provider = createScriptedProvider({ replies })
  const functions = createToolProvider('function', { lookUp: lookUp() })
  const polyphony = await openTestPolyphony({
    providers: { scripted: provider, function: functions },
    ...(callerToolMs !== undefined && { timeouts: { callerToolMs } }),
  })
  const { orchestrator } = polyphony
  const thread = await polyphony.conversations.createThread(USER, {})
  const { id: flowId } = await orchestrator.createFlow(thread.id, USER, definition)
  const execute = () => orchestrator.executeFlow(flowId, USER, { input: 'x' }).catch((error: unknown) => error)
  const untilPaused = async (): Promise<readonly WaitingStep[]> => {
    while ((await orchestrator.getFlowStatus(flowId)).status !== 'PAUSED') await setTimeout(1)
    return orchestrator.listWaiting(USER)
  }
  const signal = (wait: WaitingStep | undefined, answer: SignalAnswer) =>
    orchestrator.signal(flowId, USER, wait?.path ?? '', { ...answer, hash: wait?.hash })
  return { polyphony, orchestrator, provider, functions, flowId, execute, untilPaused, signal }
}

describe('a call of a caller tool', () => {
  test('pauses the flow with its name and arguments, and the flow continues with the result', async () => {
    const { execute, untilPaused, flowId, provider, polyphony, orchestrator, signal } = await world([ROME, 'sunny'])
    const settled = execute()
    const [wait, ...others] = await untilPaused()
    expect(others).toEqual([])
    expect(wait).toMatchObject({
      path: 'answer@1.1',
      iteration: 1,
      kind: 'caller',
      event: 'weather',
      prompt: 'The model calls your tool weather. Send its result as data.',
      show: '{\n  "city": "Rome"\n}',
      mayAnswer: true,
    })
    expect(wait?.correlation).toMatch(new RegExp(`^call_${flowId}_[0-9a-f]{16}$`))
    expect((wait?.deadline?.getTime() ?? 0) - (wait?.since.getTime() ?? 0)).toBe(3_600_000)
    await signal(wait, { data: '30 degrees' })
    expect(await settled).toMatchObject({
      status: 'COMPLETED',
      finalOutput: 'sunny',
      steps: [{ toolCalls: [{ tool: 'caller/weather', arguments: { city: 'Rome' }, output: '30 degrees', isError: false }] }],
    })
    expect(provider.requests[0]?.tools).toEqual([weather])
    expect(provider.requests.slice(1).map(toolAnswers)).toEqual([['30 degrees']])
    const calls: unknown[] = []
    for await (const update of orchestrator.streamFlow(flowId, USER)) if (update.type === 'tool_call') calls.push(update.data)
    expect(calls).toEqual([{ turn: 1, callId: 'weather-0', tool: 'caller/weather', arguments: { city: 'Rome' } }])
    await polyphony.close()
  })

  test('waits while other calls of its turn run, and for every result of its turn', async () => {
    const turn = calling(['weather', { city: 'Rome' }], ['lookUp', { sku: 'pen' }], ['weather', { city: 'Oslo' }])
    const tools = ['caller/*', 'function/lookUp']
    const { execute, untilPaused, provider, functions, polyphony, signal } = await world(
      [turn, 'done'],
      definitionWith({ tools }),
    )
    const settled = execute()
    const [rome, oslo] = await untilPaused()
    expect([rome?.path, oslo?.path]).toEqual(['answer@1.1', 'answer@1.3'])
    expect(functions.received).toHaveLength(1)
    await signal(oslo, { data: { degrees: 3 } })
    await signal(rome, { data: 'warm' })
    expect(await settled).toMatchObject({ finalOutput: 'done' })
    expect(provider.requests.slice(1).map(toolAnswers)).toEqual([['warm', '{"price":3}', '{"degrees":3}']])
    expect(functions.received).toHaveLength(1)
    await polyphony.close()
  })

  test('takes its result from an event with its name and id alone', async () => {
    const { execute, untilPaused, polyphony, orchestrator } = await world([ROME, 'sunny'])
    const settled = execute()
    const [wait] = await untilPaused()
    expect(await orchestrator.signalEvent(USER, { event: 'weather', data: 'cold' })).toEqual({ delivered: [] })
    await orchestrator.signalEvent(USER, { event: 'weather', correlation: wait?.correlation, data: 'warm' })
    expect(await settled).toMatchObject({ finalOutput: 'sunny', steps: [{ toolCalls: [{ output: 'warm' }] }] })
    await polyphony.close()
  })

  test('takes a result and no decision, and the first one counts', async () => {
    const { execute, untilPaused, polyphony, signal } = await world([ROME, 'sunny'])
    const settled = execute()
    const [wait] = await untilPaused()
    expect(await rejection(signal(wait, {}))).toMatchObject({
      code: 'INPUT_INVALID',
      message: expect.stringContaining('"weather"'),
    })
    expect(await rejection(signal(wait, { approved: true, data: 'x' }))).toMatchObject({ code: 'INPUT_INVALID' })
    await signal(wait, { data: 'first' })
    expect(await rejection(signal(wait, { data: 'second' }))).toMatchObject({ code: 'APPROVAL_DECIDED' })
    expect(await settled).toMatchObject({ steps: [{ toolCalls: [{ output: 'first' }] }] })
    await polyphony.close()
  })

  test('whose arguments do not fit goes back to the model', async () => {
    const replies = [calling(['weather', { town: 'Rome' }]), 'sorry']
    const { execute, provider, polyphony } = await world(replies)
    expect(await execute()).toMatchObject({ finalOutput: 'sorry' })
    expect(provider.requests.slice(1).map(toolAnswers)).toEqual([[expect.stringContaining('arguments.city: expected')]])
    await polyphony.close()
  })

  test('without a result fails the step at its deadline; executed again, the flow asks anew and pays no turn again', async () => {
    const { execute, provider, polyphony, orchestrator, flowId } = await world([ROME], definitionWith(), 20)
    for (const _ of [1, 2]) {
      const failed = await execute()
      expect(failed).toMatchObject({ code: 'APPROVAL_EXPIRED', message: expect.stringContaining('caller/weather') })
    }
    const waits: unknown[] = []
    for await (const update of orchestrator.streamFlow(flowId, USER))
      if (update.type === 'flow_paused') waits.push(...update.data.waits)
    expect(waits).toMatchObject([{ kind: 'caller' }, { kind: 'caller' }])
    expect(provider.requests).toHaveLength(1)
    // The wait is over, and is listed only where that is asked for.
    expect(await orchestrator.listWaiting(USER, { flowId })).toEqual([])
    const [over] = await orchestrator.listWaiting(USER, { flowId, ended: true })
    expect(over).toMatchObject({ event: 'weather', mayAnswer: false, endedAt: over?.deadline })
    await polyphony.close()
  })

  test('is refused where the run cannot wait, before anything is paid for', async () => {
    const { orchestrator, flowId, provider, polyphony } = await world([ROME])
    const refused = await rejection(orchestrator.executeStep(flowId, 'answer', USER, 'x'))
    expect(JSON.stringify(refused)).toContain('caller/weather')
    expect(provider.requests).toEqual([])
    await polyphony.close()
  })
})

describe('caller tools of a definition', () => {
  test.each([
    [[{ name: 'two words' }], 'callerTools[0].name'],
    [[{ name: 'a', parameters: { type: 'string' } }], 'callerTools[0].parameters'],
    [[{ name: 'a', parameters: { type: 'object', description: 'x'.repeat(100_000) } }], 'callerTools[0].parameters'],
    [[{ name: 'a' }, { name: 'a' }], 'callerTools'],
    [Array.from({ length: 129 }, (_, index) => ({ name: `a${index}` })), 'callerTools'],
  ])('%j are refused at %s', async (callerTools, path) => {
    const { polyphony, orchestrator } = await world([])
    const thread = await polyphony.conversations.createThread(USER, {})
    const refused = await rejection(orchestrator.createFlow(thread.id, USER, definitionWith({}, callerTools)))
    expect(refused).toMatchObject({ code: 'FLOW_INVALID', details: { problems: [{ path }] } })
    await polyphony.close()
  })

  test('that a step names and the definition does not have are problems of the check', async () => {
    const { polyphony, orchestrator } = await world([])
    const { problems } = await orchestrator.checkFlow(definitionWith({ tools: ['caller/wether'] }), USER)
    expect(problems).toMatchObject([{ code: 'FLOW_INVALID', details: { suggestion: 'weather' } }])
    expect(await orchestrator.checkFlow(definitionWith(), USER)).toMatchObject({ problems: [], warnings: [] })
    await polyphony.close()
  })
})
