import { afterEach, beforeEach, expect, test } from 'vitest'
import { decideWaiting, type Prompts } from '../../src/cli/questions/decide-waiting.ts'
import type { Terminal } from '../../src/cli/terminal.ts'
import { approve, generate, startPaused } from '../orchestrator/waiting/waiting-flows.ts'
import { type ScriptedFlow, scripted, USER } from '../support/scripted-flow.ts'
import { calling } from '../support/tool-world.ts'

let given: ScriptedFlow
beforeEach(async () => {
  given = await scripted(() => 'the draft')
})
afterEach(() => given.polyphony.close())

/** A terminal that remembers its lines. */
function createTerminal(canAsk = true) {
  const lines: string[] = []
  const print = (text = '') => void lines.push(text)
  const terminal: Terminal = {
    isLive: canAsk,
    canAsk,
    columns: 80,
    rows: 24,
    style: (_, text) => text,
    print,
    printJson: () => {},
    warn: print,
    write: print,
  }
  return { lines, context: { terminal, json: false } }
}

/** A user who gives these answers, one after another, and then leaves. */
function answering(...answers: readonly string[]) {
  const left = [...answers]
  const next = async () => left.shift()
  return async (): Promise<Prompts> => ({ choose: next, enter: next })
}

const start = (approval: object = {}) =>
  startPaused(given.polyphony, given.threadId, {
    name: 'ask',
    type: 'sequential',
    steps: [generate('draft'), approve('ok', approval)],
  })

test('the user at the terminal sees the text, changes it, and the flow completes', async () => {
  const { flowId, end } = await start()
  const { context, lines } = createTerminal()
  await decideWaiting(context, given.polyphony, { flowId, userId: USER }, answering('edit', 'my text'))
  expect(lines.join('\n')).toContain('the draft')
  expect(await end).toMatchObject({ status: 'COMPLETED', finalOutput: 'my text' })
})

test('the user at the terminal rejects', async () => {
  const { flowId, end } = await start()
  await decideWaiting(createTerminal().context, given.polyphony, { flowId, userId: USER }, answering('reject'))
  expect((await end).steps[1]?.parsed).toMatchObject({ approved: false, by: USER })
})

test('data that the step needs is entered as JSON', async () => {
  const schema = { type: 'object', properties: { n: { type: 'number' } }, required: ['n'] }
  const { flowId, end } = await start({ schema })
  const run = { flowId, userId: USER }
  const { context } = createTerminal()
  await expect(decideWaiting(context, given.polyphony, run, answering('approve', '{'))).rejects.toMatchObject({
    code: 'INPUT_INVALID',
  })
  await decideWaiting(context, given.polyphony, run, answering('approve', '{"n":3}'))
  expect((await end).steps[1]?.parsed).toMatchObject({ approved: true, data: { n: 3 } })
})

test.each([
  ['without a terminal', false, answering('approve')],
  ['when the user leaves', true, answering()],
])('the flow stays paused %s, and the error names the command to continue with', async (_, canAsk, prompts) => {
  const { flowId } = await start()
  const { context } = createTerminal(canAsk)
  await expect(decideWaiting(context, given.polyphony, { flowId, userId: USER }, prompts)).rejects.toMatchObject({
    code: 'FLOW_PAUSED',
    message: expect.stringContaining(`polyphony flows approve ${flowId} ok`),
  })
  expect((await given.polyphony.orchestrator.getFlowStatus(flowId)).status).toBe('PAUSED')
})

test('nobody at the terminal is asked for the decision of somebody else', async () => {
  const { flowId } = await start({ assignees: ['ada'] })
  await expect(
    decideWaiting(createTerminal().context, given.polyphony, { flowId, userId: USER }, answering('approve')),
  ).rejects.toMatchObject({ code: 'FLOW_PAUSED' })
})

test('a flow that waits for the result of a tool stays paused, and the error names the command that brings it', async () => {
  const asking = await scripted([calling(['weather', {}]), 'sunny'])
  const { polyphony, threadId } = asking
  const steps = [generate('answer', { tools: ['caller/weather'] })]
  const { flowId, end } = await startPaused(polyphony, threadId, {
    name: 'caller',
    type: 'sequential',
    callerTools: [{ name: 'weather' }],
    steps,
  })
  const [wait] = await polyphony.orchestrator.listWaiting(USER)
  await expect(
    decideWaiting(createTerminal().context, polyphony, { flowId, userId: USER }, answering('approve')),
  ).rejects.toMatchObject({
    code: 'FLOW_PAUSED',
    message: expect.stringMatching(
      new RegExp(`waits for the result of a tool:\\n.*signal-event weather --correlation ${wait?.correlation}$`),
    ),
  })
  await polyphony.orchestrator.signalEvent(USER, { event: 'weather', correlation: wait?.correlation, data: 'warm' })
  expect(await end).toMatchObject({ finalOutput: 'sunny' })
  await polyphony.close()
})
