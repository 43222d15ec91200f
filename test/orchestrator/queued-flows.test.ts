import { expect, onTestFinished, test } from 'vitest'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { step } from '../support/flows.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

const DEFINITION = { name: 'one step', type: 'sequential' as const, steps: [step('only', { prompt: 'original' })] }

/** Calls that wait until the test answers them, by their prompts. */
function createCalls() {
  const waiting = new Map<string, () => void>()
  const asked: string[] = []
  let onAsked = () => {}
  const provider = createScriptedProvider({
    replies: (request) =>
      new Promise((resolve) => {
        const prompt = String(request.messages.at(-1)?.content)
        asked.push(prompt)
        waiting.set(prompt, () => resolve(`answer to ${prompt}`))
        onAsked()
      }),
  })
  return {
    provider,
    asked,
    async answer(prompt: string) {
      while (!waiting.has(prompt)) {
        await new Promise<void>((resolve) => {
          onAsked = resolve
        })
      }
      waiting.get(prompt)?.()
    },
    async untilAsked(count: number) {
      while (asked.length < count) {
        await new Promise<void>((resolve) => {
          onAsked = resolve
        })
      }
    },
  }
}

async function open(config: PolyphonyConfigInput) {
  const calls = createCalls()
  const polyphony = await openTestPolyphony({ providers: { scripted: calls.provider }, ...config })
  onTestFinished(() => polyphony.close())
  return { polyphony, calls, orchestrator: polyphony.orchestrator }
}

async function createFlow({ conversations, orchestrator }: Polyphony, userId: string): Promise<string> {
  const thread = await conversations.createThread(userId)
  return (await orchestrator.createFlow(thread.id, userId, DEFINITION)).id
}

test('a flow above the limit of the process waits in the queue, and runs when another one has ended', async () => {
  const { polyphony, orchestrator, calls } = await open({ maxRunningFlows: 1 })
  const [first, second] = [await createFlow(polyphony, 'ada'), await createFlow(polyphony, 'ada')]
  const updates: FlowUpdate[] = []
  const firstEnd = orchestrator.executeFlow(first, 'ada', { input: 'one' })
  await calls.untilAsked(1)
  const secondEnd = orchestrator.executeFlow(second, 'ada', { input: 'two', onUpdate: (update) => updates.push(update) })
  await expect.poll(async () => (await orchestrator.getFlowStatus(second)).queuedAt).toBeInstanceOf(Date)
  expect(await orchestrator.getFlowStatus(second)).toMatchObject({ status: 'RUNNING', progress: 0 })
  expect((await orchestrator.getFlowStatus(first)).queuedAt).toBeUndefined()
  expect(calls.asked).toEqual(['one'])
  await expect(orchestrator.executeFlow(second, 'ada')).rejects.toMatchObject({ code: 'FLOW_ALREADY_RUNNING' })
  await calls.answer('one')
  expect((await firstEnd).finalOutput).toBe('answer to one')
  await calls.answer('two')
  expect((await secondEnd).finalOutput).toBe('answer to two')
  expect(updates.map(({ seq }) => seq)).toEqual(updates.map((_, index) => index + 1))
  expect(updates.at(-1)?.type).toBe('flow_complete')
  expect((await orchestrator.getFlowStatus(second)).queuedAt).toBeUndefined()
})

test('a queued flow can be cancelled, and no call is made for it', async () => {
  const { polyphony, orchestrator, calls } = await open({ maxRunningFlows: { perProcess: 1 } })
  const [first, second] = [await createFlow(polyphony, 'ada'), await createFlow(polyphony, 'ada')]
  const firstEnd = orchestrator.executeFlow(first, 'ada', { input: 'one' })
  await calls.untilAsked(1)
  const secondEnd = orchestrator.executeFlow(second, 'ada', { input: 'two' })
  const refused = expect(secondEnd).rejects.toMatchObject({ code: 'FLOW_CANCELLED' })
  await expect.poll(async () => (await orchestrator.getFlowStatus(second)).queuedAt).toBeInstanceOf(Date)
  expect((await orchestrator.cancelFlow(second, 'ada')).status).toBe('CANCELLED')
  await refused
  await calls.answer('one')
  await firstEnd
  expect(calls.asked).toEqual(['one'])
})

test('a signal cancels a queued flow', async () => {
  const { polyphony, orchestrator, calls } = await open({ maxRunningFlows: 1 })
  const [first, second] = [await createFlow(polyphony, 'ada'), await createFlow(polyphony, 'ada')]
  void orchestrator.startFlow(first, 'ada', { input: 'one' })
  await calls.untilAsked(1)
  const abort = new AbortController()
  const secondEnd = orchestrator.executeFlow(second, 'ada', { input: 'two', signal: abort.signal })
  const refused = expect(secondEnd).rejects.toMatchObject({ code: 'FLOW_CANCELLED' })
  await expect.poll(async () => (await orchestrator.getFlowStatus(second)).queuedAt).toBeInstanceOf(Date)
  abort.abort()
  await refused
  expect((await orchestrator.getFlowStatus(second)).status).toBe('CANCELLED')
})

test('a signal that aborts while a flow is being queued cancels it, and no call is made for it', async () => {
  const { polyphony, orchestrator, calls } = await open({ maxRunningFlows: 1 })
  const [first, second] = [await createFlow(polyphony, 'ada'), await createFlow(polyphony, 'ada')]
  const firstEnd = orchestrator.executeFlow(first, 'ada', { input: 'one' })
  await calls.untilAsked(1)
  const abort = new AbortController()
  const { signal } = abort
  // The listener is added in the turn in which the start of the flow begins, so the store has not answered yet.
  signal.addEventListener = (...given: Parameters<typeof signal.addEventListener>) => {
    AbortSignal.prototype.addEventListener.apply(signal, given)
    queueMicrotask(() => abort.abort())
  }
  await expect(orchestrator.executeFlow(second, 'ada', { input: 'two', signal })).rejects.toMatchObject({
    code: 'FLOW_CANCELLED',
  })
  expect((await orchestrator.getFlowStatus(second)).status).toBe('CANCELLED')
  await calls.answer('one')
  await firstEnd
  expect(calls.asked).toEqual(['one'])
})

test('no user runs more flows at once than allowed, and the flows of others do not wait for them', async () => {
  const { polyphony, orchestrator, calls } = await open({ maxRunningFlows: { perUser: 2 } })
  for (const input of ['ada 1', 'ada 2', 'ada 3']) {
    await orchestrator.startFlow(await createFlow(polyphony, 'ada'), 'ada', { input })
  }
  await orchestrator.startFlow(await createFlow(polyphony, 'bob'), 'bob', { input: 'bob 1' })
  await calls.untilAsked(3)
  expect(calls.asked.toSorted()).toEqual(['ada 1', 'ada 2', 'bob 1'])
  await calls.answer('ada 1')
  await calls.untilAsked(4)
  expect(calls.asked.at(-1)).toBe('ada 3')
})

test('the first flow of a second user is next after a free place beside 1,000 queued flows of the first', async () => {
  const { polyphony, orchestrator, calls } = await open({ maxRunningFlows: 2 })
  const thread = await polyphony.conversations.createThread('ada')
  const start = async (input: string) => {
    const { id } = await orchestrator.createFlow(thread.id, 'ada', DEFINITION)
    await orchestrator.startFlow(id, 'ada', { input })
  }
  for (const input of ['ada 0', 'ada 1']) await start(input)
  await Promise.all(Array.from({ length: 1_000 }, (_, index) => start(`ada ${index + 2}`)))
  await orchestrator.startFlow(await createFlow(polyphony, 'bob'), 'bob', { input: 'bob' })
  expect(calls.asked).toEqual(['ada 0', 'ada 1'])
  await calls.answer('ada 0')
  await calls.untilAsked(3)
  expect(calls.asked.at(-1)).toBe('bob')
})

test('a queued flow with functions runs in the process that has them, although it never registered them', async () => {
  const { polyphony, orchestrator, calls } = await open({ maxRunningFlows: 1 })
  const thread = await polyphony.conversations.createThread('ada')
  const first = await createFlow(polyphony, 'ada')
  const withCode = await orchestrator.createFlow(thread.id, 'ada', {
    name: 'code',
    type: 'sequential',
    steps: [step('only', { prompt: () => 'from a function' })],
  })
  const firstEnd = orchestrator.executeFlow(first, 'ada', { input: 'one' })
  await calls.untilAsked(1)
  const end = orchestrator.executeFlow(withCode.id, 'ada', { input: 'two' })
  await calls.answer('one')
  await calls.untilAsked(2)
  const prompt = String(calls.asked.at(-1))
  await calls.answer(prompt)
  await firstEnd
  expect(prompt).toContain('from a function')
  expect((await end).finalOutput).toBe(`answer to ${prompt}`)
})

test('a process that runs no flows refuses to queue a flow that no process could run', async () => {
  const { polyphony, orchestrator } = await open({ takesFlows: false })
  const thread = await polyphony.conversations.createThread('ada')
  const definition = { name: 'code', type: 'sequential' as const, steps: [step('only', { prompt: () => 'from a function' })] }
  const { id } = await orchestrator.createFlow(thread.id, 'ada', definition)
  await expect(orchestrator.startFlow(id, 'ada', { input: 'x' })).rejects.toMatchObject({ code: 'FLOW_NOT_REBUILDABLE' })
  expect(await orchestrator.getFlowStatus(id)).toMatchObject({ status: 'PENDING' })
  orchestrator.registerFlow(definition)
  expect(await orchestrator.startFlow(id, 'ada', { input: 'x' })).toMatchObject({ status: 'RUNNING' })
})

test('closing ends the waiting for a queued flow, which stays queued', async () => {
  const { polyphony, orchestrator, calls } = await open({ maxRunningFlows: 1 })
  const [first, second] = [await createFlow(polyphony, 'ada'), await createFlow(polyphony, 'ada')]
  const ends = [first, second].map((id) => orchestrator.executeFlow(id, 'ada', { input: id }))
  const outcomes = Promise.allSettled(ends)
  await calls.untilAsked(1)
  await polyphony.close()
  expect((await outcomes).map((outcome) => outcome.status === 'rejected' && outcome.reason.code)).toEqual([
    'FLOW_CANCELLED',
    'FLOW_INTERRUPTED',
  ])
})
