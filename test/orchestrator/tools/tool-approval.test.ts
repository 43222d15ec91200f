import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import type { FlowStepInput } from '../../../src/domain/definition/flow-definition.ts'
import type { WaitingStep } from '../../../src/orchestrator/waiting/waiting-list.ts'
import type { ScriptedReplies } from '../../../src/providers/scripted.ts'
import { scripted, USER } from '../../support/scripted-flow.ts'
import { calling, createToolProvider, lookUp, toolAnswers } from '../../support/tool-world.ts'

const pay = { input: z.strictObject({ amount: z.number() }), approval: true, run: () => 'paid' }

/** A flow whose model calls tools, run until it pauses. */
async function paused(replies: ScriptedReplies, step: Partial<FlowStepInput> = {}) {
  const functions = createToolProvider('function', { pay, lookUp: lookUp() })
  const world = await scripted(replies, { function: functions })
  const { orchestrator } = world.polyphony
  const steps = [{ id: 'answer', model: 'scripted/m', action: 'generate' as const, tools: ['function/*'], ...step }]
  const flow = await orchestrator.createFlow(world.threadId, USER, { name: 'approval', type: 'sequential', steps })
  const { updates } = world
  const end = orchestrator.executeFlow(flow.id, USER, { input: 'x', onUpdate: (update) => updates.push(update) })
  const settled = end.catch((error: unknown) => error)
  const untilPaused = async (): Promise<readonly WaitingStep[]> => {
    while ((await orchestrator.getFlowStatus(flow.id)).status !== 'PAUSED') await new Promise(setImmediate)
    return orchestrator.listWaiting(USER)
  }
  return { ...world, orchestrator, flowId: flow.id, functions, settled, untilPaused }
}

describe('the approval of a call of a tool', () => {
  test('the flow pauses with tool and arguments, and the call is made once it is approved', async () => {
    const { untilPaused, orchestrator, flowId, functions, settled, updates, provider, polyphony } = await paused([
      calling(['pay', { amount: 5 }]),
      'done',
    ])
    const [wait, ...others] = await untilPaused()
    expect(others).toEqual([])
    expect(wait).toMatchObject({
      path: 'answer@1.1',
      iteration: 1,
      kind: 'tool',
      prompt: 'The model calls function/pay. Run it?',
      show: '{\n  "amount": 5\n}',
      mayAnswer: true,
    })
    expect(functions.received).toEqual([])
    await orchestrator.signal(flowId, USER, wait?.path ?? '', { approved: true, hash: wait?.hash })
    expect(await settled).toMatchObject({
      status: 'COMPLETED',
      finalOutput: 'done',
      steps: [{ toolCalls: [{ tool: 'function/pay', output: 'paid', approvedBy: USER }] }],
    })
    expect(functions.received).toHaveLength(1)
    expect(provider.requests).toHaveLength(2)
    const calls = updates.filter(({ type }) => type === 'tool_call')
    expect(calls.map(({ data }) => data)).toEqual([
      { turn: 1, callId: 'pay-0', tool: 'function/pay', arguments: { amount: 5 }, needsApproval: true },
    ])
    await polyphony.close()
  })

  test('a rejection is a result that the model sees', async () => {
    const { untilPaused, orchestrator, flowId, functions, settled, provider, polyphony } = await paused([
      calling(['pay', { amount: 5 }]),
      'not paid',
    ])
    const [wait] = await untilPaused()
    await orchestrator.signal(flowId, USER, wait?.path ?? '', { approved: false })
    expect(await settled).toMatchObject({
      finalOutput: 'not paid',
      steps: [{ toolCalls: [{ isError: true, approvedBy: USER }] }],
    })
    expect(functions.received).toEqual([])
    expect(provider.requests[1] && toolAnswers(provider.requests[1])).toEqual([
      '{"error":{"code":"REJECTED","message":"The user rejected this call."}}',
    ])
    await polyphony.close()
  })

  test('an edit replaces the arguments and must fit the schema of the tool', async () => {
    const { untilPaused, orchestrator, flowId, functions, settled, polyphony } = await paused([
      calling(['pay', { amount: 5 }]),
      'ok',
    ])
    const [wait] = await untilPaused()
    const signal = (edit: string) => orchestrator.signal(flowId, USER, wait?.path ?? '', { approved: true, edit })
    await expect(signal('{"amount":"much"}')).rejects.toMatchObject({ code: 'INPUT_INVALID' })
    await expect(signal('five')).rejects.toMatchObject({ code: 'INPUT_INVALID' })
    await signal('{"amount":2}')
    expect(await settled).toMatchObject({ steps: [{ toolCalls: [{ arguments: { amount: 2 } }] }] })
    expect(functions.received).toMatchObject([{ given: { amount: 2 } }])
    await polyphony.close()
  })

  test('each of several calls of a turn waits by itself, and others run meanwhile and only once', async () => {
    const { untilPaused, orchestrator, flowId, functions, settled, polyphony } = await paused(
      [calling(['pay', { amount: 1 }], ['lookUp', { sku: 'pen' }], ['pay', { amount: 2 }]), 'ok'],
      { samples: 1 },
    )
    const waiting = await untilPaused()
    expect(waiting.map(({ path }) => path)).toEqual(['answer@1.1', 'answer@1.3'])
    expect(functions.received.map(({ operation }) => operation)).toEqual(['lookUp'])
    await orchestrator.signal(flowId, USER, 'answer@1.3', { approved: true })
    const [left, ...others] = await untilPaused()
    expect(others).toEqual([])
    await orchestrator.signal(flowId, USER, left?.path ?? '', { approved: false })
    expect(await settled).toMatchObject({ finalOutput: 'ok' })
    expect(functions.received.map(({ operation, given }) => [operation, given])).toEqual([
      ['lookUp', { sku: 'pen' }],
      ['pay', { amount: 2 }],
    ])
    await polyphony.close()
  })

  test('a name in approveTools that is no tool of the step is refused before anything is paid, with a suggestion', async () => {
    const cases: readonly (readonly [Partial<FlowStepInput>, string])[] = [
      [{ approveTools: ['function/lookup'] }, 'found "function/lookup"; did you mean "function/lookUp"?'],
      [{ approveTools: ['pay', 'github/*'] }, '("function/pay", "function/lookUp"), found "github/*"'],
      [{ toolChoice: 'lookup' }, 'found "lookup"; did you mean "lookUp"?'],
    ]
    for (const [step, message] of cases) {
      const { settled, provider, functions, polyphony } = await paused([calling(['lookUp', { sku: 'pen' }]), 'ok'], step)
      expect(await settled).toMatchObject({ code: 'FLOW_INVALID', message: expect.stringContaining(message) })
      expect(provider.requests).toEqual([])
      expect(functions.received).toEqual([])
      await polyphony.close()
    }
  })

  test('approveTools names a tool as its model does, too', async () => {
    const { untilPaused, settled, orchestrator, flowId, functions, polyphony } = await paused(
      [calling(['lookUp', { sku: 'pen' }]), 'ok'],
      { approveTools: ['lookUp'] },
    )
    const [wait] = await untilPaused()
    expect(functions.received).toEqual([])
    await orchestrator.signal(flowId, USER, wait?.path ?? '', { approved: true })
    expect(await settled).toMatchObject({ finalOutput: 'ok' })
    await polyphony.close()
  })

  test('approveTools asks for tools that need no approval by themselves, and executeStep refuses before it pays', async () => {
    const { untilPaused, orchestrator, flowId, functions, settled, provider, polyphony } = await paused(
      [calling(['lookUp', { sku: 'pen' }]), 'ok'],
      { tools: ['function/lookUp'], approveTools: ['function/lookUp'] },
    )
    const [wait] = await untilPaused()
    await orchestrator.signal(flowId, USER, wait?.path ?? '', { approved: true })
    expect(await settled).toMatchObject({ finalOutput: 'ok' })
    expect(functions.received).toHaveLength(1)
    await expect(orchestrator.executeStep(flowId, 'answer', USER)).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      message: expect.stringContaining('executeStep: expected a step whose tools need no approval'),
    })
    expect(provider.requests).toHaveLength(2)
    await polyphony.close()
  })

  test('a path of a call that does not wait is refused as that of its step', async () => {
    const { untilPaused, orchestrator, flowId, settled, polyphony } = await paused([calling(['pay', { amount: 1 }]), 'ok'])
    await untilPaused()
    await expect(orchestrator.signal(flowId, USER, 'answer@7.1', { approved: true })).rejects.toMatchObject({
      code: 'STEP_NOT_WAITING',
    })
    await orchestrator.cancelFlow(flowId, USER)
    expect(await settled).toMatchObject({ code: 'FLOW_CANCELLED' })
    await polyphony.close()
  })
})
