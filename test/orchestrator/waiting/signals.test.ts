import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type ScriptedFlow, scripted, USER } from '../../support/scripted-flow.ts'
import { approve, generate, startPaused, untilPaused } from './waiting-flows.ts'

let given: ScriptedFlow
beforeEach(async () => {
  given = await scripted(({ messages }) => `answer to ${messages.length} message`)
})
afterEach(() => given.polyphony.close())

const one = (approval: object = {}) =>
  ({ name: 'one approval', type: 'sequential', steps: [generate('draft'), approve('ok', approval)] }) as const
const start = (definition: Parameters<typeof startPaused>[2]) => startPaused(given.polyphony, given.threadId, definition)
const signal = (...parameters: Parameters<typeof given.polyphony.orchestrator.signal>) =>
  given.polyphony.orchestrator.signal(...parameters)

describe('decisions', () => {
  test('a rejection is a result that conditions read, and the flow completes', async () => {
    const { flowId, end } = await start({
      name: 'branch on a decision',
      type: 'conditional',
      steps: [
        generate('draft'),
        approve('ok'),
        generate('publish', { condition: 'steps.ok.parsed.approved' }),
        generate('shelve', { otherwise: true }),
      ],
    })
    await signal(flowId, USER, 'ok', { approved: false })
    const { steps } = await end
    expect(steps.map(({ stepId, status }) => [stepId, status])).toEqual([
      ['draft', 'SUCCESS'],
      ['ok', 'SUCCESS'],
      ['publish', 'SKIPPED'],
      ['shelve', 'SUCCESS'],
    ])
    expect(steps[1]?.parsed).toMatchObject({ approved: false, by: USER })
  })

  test('of two decisions at once one counts, and the other is told who decided', async () => {
    const { flowId, end } = await start(one())
    const outcomes = await Promise.allSettled([
      signal(flowId, USER, 'ok', { approved: true }),
      signal(flowId, USER, 'ok', { approved: false }),
    ])
    const refused = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []))
    expect(refused).toMatchObject([{ code: 'APPROVAL_DECIDED', details: { by: USER } }])
    const winner = outcomes.find((outcome) => outcome.status === 'fulfilled')
    expect((await end).steps[1]?.parsed).toMatchObject({ approved: winner?.value.approved })
    await expect(signal(flowId, USER, 'ok', { approved: true })).rejects.toMatchObject({ code: 'APPROVAL_DECIDED' })
  })

  test('a decision about something else than the step shows is refused', async () => {
    const { flowId, end } = await start(one())
    await expect(signal(flowId, USER, 'ok', { approved: true, hash: 'stale' })).rejects.toMatchObject({
      code: 'APPROVAL_OUTDATED',
    })
    const [open] = await given.polyphony.orchestrator.listWaiting(USER)
    await signal(flowId, USER, 'ok', { approved: true, hash: open?.hash })
    expect((await end).status).toBe('COMPLETED')
  })

  test('data must fit the schema of the step, and defaults are filled in', async () => {
    const schema = {
      type: 'object',
      properties: { amount: { type: 'number' }, note: { type: 'string', default: 'none' } },
      required: ['amount'],
    }
    const { flowId, end } = await start(one({ schema }))
    await expect(signal(flowId, USER, 'ok', { approved: true, data: { amount: 'much' } })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
    })
    await expect(signal(flowId, USER, 'ok', { approved: true })).rejects.toMatchObject({ code: 'INPUT_INVALID' })
    const [open] = await given.polyphony.orchestrator.listWaiting(USER)
    expect(open?.schema).toEqual(schema)
    await signal(flowId, USER, 'ok', { approved: true, data: { amount: 3 } })
    expect((await end).steps[1]?.parsed).toMatchObject({ data: { amount: 3, note: 'none' } })
  })

  test('an unknown step, a step that does not wait and a missing decision have clear codes', async () => {
    const { flowId } = await start(one())
    await expect(signal(flowId, USER, 'nothing', { approved: true })).rejects.toMatchObject({ code: 'STEP_NOT_FOUND' })
    await expect(signal(flowId, USER, 'draft', { approved: true })).rejects.toMatchObject({ code: 'STEP_NOT_WAITING' })
    await expect(signal(flowId, USER, 'ok', {})).rejects.toMatchObject({ code: 'INPUT_INVALID' })
    await expect(signal('no-flow', USER, 'ok', { approved: true })).rejects.toMatchObject({ code: 'FLOW_NOT_FOUND' })
  })

  test('assignees shut out everybody else, the creator too', async () => {
    const { polyphony, threadId } = given
    await polyphony.permissions.grant(threadId, USER, 'ada', ['read'])
    await polyphony.permissions.grant(threadId, USER, 'bob', ['read', 'write'])
    const { flowId, end } = await start(one({ assignees: ['ada', 'eve'] }))
    for (const userId of [USER, 'bob']) {
      await expect(signal(flowId, userId, 'ok', { approved: true })).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
    }
    // An assignee who may not read the thread does not learn that the flow exists.
    await expect(signal(flowId, 'eve', 'ok', { approved: true })).rejects.toMatchObject({ code: 'FLOW_NOT_FOUND' })
    const mayAnswer = async (userId: string) => (await polyphony.orchestrator.listWaiting(userId)).map((row) => row.mayAnswer)
    expect([await mayAnswer(USER), await mayAnswer('ada'), await mayAnswer('bob'), await mayAnswer('eve')]).toEqual([
      [false],
      [true],
      [false],
      [],
    ])
    await signal(flowId, 'ada', 'ok', { approved: true })
    expect((await end).steps[1]?.parsed).toMatchObject({ by: 'ada' })
  })

  test('without assignees the right to write the thread is needed', async () => {
    const { polyphony, threadId } = given
    await polyphony.permissions.grant(threadId, USER, 'ada', ['read'])
    const { flowId } = await start(one())
    await expect(signal(flowId, 'ada', 'ok', { approved: true })).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
    expect(await polyphony.orchestrator.listWaiting('ada')).toMatchObject([{ path: 'ok', mayAnswer: false }])
  })
})

describe('deadlines', () => {
  test.each([
    ['approve', true],
    ['reject', false],
  ] as const)('onTimeout "%s" decides when the time is over', async (onTimeout, approved) => {
    const { end } = await start(one({ timeoutMs: 1, onTimeout }))
    expect((await end).steps[1]).toMatchObject({ status: 'SUCCESS', parsed: { approved, timedOut: true, by: 'timeout' } })
  })

  test('without onTimeout the step fails, and it asks again when the flow is executed again', async () => {
    const { flowId, end } = await start(one({ timeoutMs: 1 }))
    await expect(end).rejects.toMatchObject({ code: 'APPROVAL_EXPIRED' })
    await expect(signal(flowId, USER, 'ok', { approved: true })).rejects.toMatchObject({ code: 'APPROVAL_EXPIRED' })
    const again = given.polyphony.orchestrator.executeFlow(flowId, USER)
    await expect(again).rejects.toMatchObject({ code: 'APPROVAL_EXPIRED' })
    expect(given.provider.requests).toHaveLength(1)
  })
})

test('the decision about a step that asks again, because its time was over, counts', async () => {
  // Long enough for the decision, which comes at once.
  const { flowId, end } = await start(one({ timeoutMs: 2_000 }))
  await expect(end).rejects.toMatchObject({ code: 'APPROVAL_EXPIRED' })
  const again = given.polyphony.orchestrator.executeFlow(flowId, USER)
  await untilPaused(given.polyphony, flowId, 2)
  await signal(flowId, USER, 'ok', { approved: true })
  expect((await again).steps[1]?.parsed).toMatchObject({ approved: true, by: USER })
})

describe('times and events', () => {
  test('a flow sleeps for a duration and passes the text before it on', async () => {
    const { end } = await start({
      name: 'sleep',
      type: 'sequential',
      steps: [generate('draft'), { id: 'pause', action: 'wait', for: '10ms' }],
    })
    const { steps, finalOutput } = await end
    expect(steps[1]).toMatchObject({ status: 'SUCCESS', provider: 'polyphony', output: steps[0]?.output })
    expect(finalOutput).toBe(steps[0]?.output)
  })

  test('an instant in the past does not pause the flow', async () => {
    const result = await given.run({
      name: 'past',
      type: 'sequential',
      steps: [generate('draft'), { id: 'pause', action: 'wait', until: '2020-01-01T00:00:00Z' }],
    })
    expect(result.status).toBe('COMPLETED')
    expect(given.updates.map(({ type }) => type)).not.toContain('flow_paused')
  })

  test('an event reaches the steps with the same correlation, and no others', async () => {
    const definition = (order: string) =>
      ({
        name: `order ${order}`,
        type: 'sequential',
        steps: [generate('draft'), { id: 'paid', action: 'wait', event: 'paid', correlation: `order-${order}` }],
      }) as const
    const first = await start(definition('1'))
    const second = await start(definition('2'))
    const { orchestrator } = given.polyphony
    expect(await orchestrator.signalEvent(USER, { event: 'paid' })).toEqual({ delivered: [] })
    expect(await orchestrator.signalEvent('stranger', { event: 'paid', correlation: 'order-1' })).toEqual({ delivered: [] })
    const receipt = await orchestrator.signalEvent(USER, { event: 'paid', correlation: 'order-1', data: { amount: 5 } })
    expect(receipt.delivered).toMatchObject([{ flowId: first.flowId, path: 'paid' }])
    expect((await first.end).steps[1]?.parsed).toMatchObject({ event: 'paid', timedOut: false, data: { amount: 5 }, by: USER })
    expect((await orchestrator.getFlowStatus(second.flowId)).status).toBe('PAUSED')
    await signal(second.flowId, USER, 'paid', { data: 'by path' })
    expect((await second.end).steps[1]?.parsed).toMatchObject({ data: 'by path' })
  })

  test('an event that does not come in time is a result, not a failure', async () => {
    const { end } = await start({
      name: 'late',
      type: 'sequential',
      steps: [generate('draft'), { id: 'paid', action: 'wait', event: 'paid', timeoutMs: 1 }],
    })
    expect((await end).steps[1]).toMatchObject({ status: 'SUCCESS', parsed: { event: 'paid', timedOut: true } })
  })

  test('a sleeping step takes no answer', async () => {
    const { flowId } = await start({
      name: 'sleep',
      type: 'sequential',
      steps: [generate('draft'), { id: 'pause', action: 'wait', for: '1h' }],
    })
    await expect(signal(flowId, USER, 'pause', {})).rejects.toMatchObject({ code: 'STEP_NOT_WAITING' })
    expect(await given.polyphony.orchestrator.listWaiting(USER)).toMatchObject([
      { path: 'pause', kind: 'wait', mayAnswer: false },
    ])
  })
})

describe('flow types', () => {
  test('branches run on while an approval waits, and two approvals wait together', async () => {
    const { flowId, end } = await start({
      name: 'two approvals',
      type: 'graph',
      steps: [
        generate('a'),
        generate('b'),
        approve('okA', { show: '{{ steps.a.output }}' }),
        approve('okB', { show: '{{ steps.b.output }}' }),
        generate('join', { dependsOn: ['okA', 'okB'] }),
      ],
    })
    const { orchestrator } = given.polyphony
    expect((await orchestrator.listWaiting(USER)).map(({ path }) => path).sort()).toEqual(['okA', 'okB'])
    await signal(flowId, USER, 'okA', { approved: true })
    await untilPaused(given.polyphony, flowId, 2)
    expect((await orchestrator.listWaiting(USER)).map(({ path }) => path)).toEqual(['okB'])
    await signal(flowId, USER, 'okB', { approved: true })
    expect((await end).steps.map(({ stepId }) => stepId).sort()).toEqual(['a', 'b', 'join', 'okA', 'okB'])
    expect(given.provider.requests).toHaveLength(3)
  })

  test('two approvals that are answered at once lose neither', async () => {
    const { flowId, end } = await start({
      name: 'at once',
      type: 'parallel',
      steps: [generate('a'), approve('okA'), approve('okB')],
    })
    await Promise.all([signal(flowId, USER, 'okA', { approved: true }), signal(flowId, USER, 'okB', { approved: false })])
    const { steps } = await end
    expect(Object.fromEntries(steps.map(({ stepId, parsed }) => [stepId, parsed]))).toMatchObject({
      okA: { approved: true },
      okB: { approved: false },
    })
  })

  test('a person alone steers a refinement: rejected drafts are refined, the edit of the approved one is the output', async () => {
    const { flowId, end } = await start({
      name: 'person decides',
      type: 'refinement',
      refinement: { maxIterations: 5 },
      steps: [
        generate('draft'),
        approve('ok'),
        { id: 'better', model: 'scripted/m', action: 'refine', prompt: 'Do better: {{ steps.ok.parsed.data }}' },
      ],
    })
    await signal(flowId, USER, 'ok', { approved: false, data: 'shorter' })
    await untilPaused(given.polyphony, flowId, 2)
    const [open] = await given.polyphony.orchestrator.listWaiting(USER)
    expect(open).toMatchObject({ path: 'ok', iteration: 2 })
    await signal(flowId, USER, 'ok', { approved: true, edit: 'the final text' })
    const result = await end
    expect(result).toMatchObject({ finalOutput: 'the final text', stopReason: 'approved' })
    expect(given.provider.requests).toHaveLength(2)
    expect(given.provider.requests[1]?.messages.at(-1)?.content).toContain('shorter')
  })

  test('a person is one of the critics', async () => {
    const { flowId, end } = await start({
      name: 'critic',
      type: 'critique',
      critique: { rounds: 2 },
      steps: [generate('draft'), approve('ok'), { id: 'better', model: 'scripted/m', action: 'refine' }],
    })
    await signal(flowId, USER, 'ok', { approved: false })
    await untilPaused(given.polyphony, flowId, 2)
    await signal(flowId, USER, 'ok', { approved: true })
    expect(await end).toMatchObject({ stopReason: 'approved' })
  })
})
