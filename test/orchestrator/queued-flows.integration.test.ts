import { expect, onTestFinished, test } from 'vitest'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { createScriptedProvider, type ScriptedReply } from '../../src/providers/scripted.ts'
import { step, until } from '../support/flows.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres } from '../support/postgres.ts'
import { approve, untilPaused } from './waiting/waiting-flows.ts'

const DEFINITION = {
  name: 'two steps',
  type: 'sequential' as const,
  steps: [step('first', { prompt: 'original' }), step('second', { prompt: 'original' })],
}
const LIMITED = { maxRunningFlows: 100 }
const HANGS: ScriptedReply = { text: 'half of it', hang: true }

async function openDatabase(): Promise<string> {
  const { url, drop } = await openTestPostgres()
  onTestFinished(drop)
  return url
}

async function open(database: string, replies: readonly ScriptedReply[], config: PolyphonyConfigInput = {}) {
  const provider = createScriptedProvider({ replies })
  const polyphony = await openTestPolyphony({ database, providers: { scripted: provider }, ...config })
  onTestFinished(() => polyphony.close())
  return { polyphony, provider, orchestrator: polyphony.orchestrator }
}

async function createFlow(
  { conversations, orchestrator }: Polyphony,
  userId = 'ada',
  definition: FlowDefinitionInput = DEFINITION,
): Promise<string> {
  const thread = await conversations.createThread(userId)
  return (await orchestrator.createFlow(thread.id, userId, definition)).id
}

test('executeFlow waits for a queued flow that another process takes, with its updates and result', async () => {
  const database = await openDatabase()
  const first = await open(database, [HANGS], { maxRunningFlows: 1 })
  const running = await createFlow(first.polyphony)
  void first.orchestrator.startFlow(running, 'ada', { input: 'hangs', streaming: true })
  await expect.poll(() => first.provider.requests.length).toBe(1)
  const flowId = await createFlow(first.polyphony)
  const updates: FlowUpdate[] = []
  const end = first.orchestrator.executeFlow(flowId, 'ada', { input: 'hello', onUpdate: (update) => updates.push(update) })
  await expect.poll(async () => (await first.orchestrator.getFlowStatus(flowId)).queuedAt).toBeInstanceOf(Date)
  const silent = await createFlow(first.polyphony)
  const silentEnd = first.orchestrator.executeFlow(silent, 'ada', { input: 'hello' })
  await expect.poll(async () => (await first.orchestrator.getFlowStatus(silent)).queuedAt).toBeInstanceOf(Date)
  const second = await open(database, ['a', 'b', 'c', 'd'], { maxRunningFlows: 1 })
  await second.polyphony.resumeInterrupted()
  expect(await end).toMatchObject({ status: 'COMPLETED', finalOutput: 'b' })
  expect((await silentEnd).finalOutput).toBe('d')
  expect(updates.map(({ seq }) => seq)).toEqual(updates.map((_, index) => index + 1))
  expect(updates.at(-1)?.type).toBe('flow_complete')
  expect(first.provider.requests).toHaveLength(1)
})

test('two processes over one database together run no more flows of a user than allowed', async () => {
  const database = await openDatabase()
  const config = { maxRunningFlows: { perUser: 3 } }
  const processes = [await open(database, Array(8).fill(HANGS), config), await open(database, Array(8).fill(HANGS), config)]
  const flows = await Promise.all(processes.flatMap(({ polyphony }) => [0, 1, 2, 3].map(() => createFlow(polyphony))))
  await Promise.all(
    flows.map((id, index) => processes[index < 4 ? 0 : 1]?.orchestrator.startFlow(id, 'ada', { input: 'x', streaming: true })),
  )
  const asked = () => processes.reduce((sum, { provider }) => sum + provider.requests.length, 0)
  await expect.poll(asked).toBe(3)
  const [first] = processes
  const queued = await Promise.all(flows.map(async (id) => (await first?.orchestrator.getFlowStatus(id))?.queuedAt))
  expect(queued.filter((at) => at !== undefined)).toHaveLength(5)
  const running = flows.find((_, index) => queued[index] === undefined)
  await first?.orchestrator.cancelFlow(String(running), 'ada')
  await expect.poll(asked, { timeout: 5_000 }).toBe(4)
})

test('a hand-over within the grace period ends calls in flight, and another process continues without a repeat', async () => {
  const database = await openDatabase()
  const first = await open(database, [{ text: 'one', delayMs: 500 }, 'never asked'], LIMITED)
  const second = await open(database, ['two'], LIMITED)
  await second.polyphony.resumeInterrupted()
  const flowId = await createFlow(first.polyphony)
  await first.orchestrator.startFlow(flowId, 'ada', { input: 'hello', resumeAfterCrash: true })
  await expect.poll(() => first.provider.requests.length).toBe(1)
  await first.polyphony.close({ handOver: true, graceMs: 10_000 })
  expect(first.provider.requests).toHaveLength(1)
  for await (const _ of second.orchestrator.streamFlow(flowId, 'ada'));
  const flow = await second.orchestrator.getFlow(flowId, 'ada')
  expect(flow).toMatchObject({ status: 'COMPLETED', result: { finalOutput: 'two' } })
  expect(flow.stepResults.map(({ stepId, attempts }) => [stepId, attempts.length])).toEqual([
    ['first', 1],
    ['second', 1],
  ])
  expect(second.provider.requests).toHaveLength(1)
})

test('a hand-over does not wait for a step that waits for a decision while another one runs', async () => {
  const database = await openDatabase()
  const first = await open(database, [{ text: 'one', delayMs: 500 }, 'never asked'], LIMITED)
  const second = await open(database, ['two'], LIMITED)
  await second.polyphony.resumeInterrupted()
  const steps = [step('first'), approve('ok', { show: 'the text' }), step('second', { dependsOn: ['first'] })]
  const flowId = await createFlow(first.polyphony, 'ada', { name: 'waits meanwhile', type: 'graph', steps })
  await first.orchestrator.startFlow(flowId, 'ada', { input: 'hello' })
  await until(() => first.provider.requests.length === 1)
  await first.polyphony.close({ handOver: true, graceMs: 600_000 })
  await untilPaused(second.polyphony, flowId, 1, 'ada')
  await second.orchestrator.signal(flowId, 'ada', 'ok', { approved: true })
  for await (const _ of second.orchestrator.streamFlow(flowId, 'ada'));
  const flow = await second.orchestrator.getFlow(flowId, 'ada')
  expect(flow).toMatchObject({ status: 'COMPLETED' })
  expect([first, second].map(({ provider }) => provider.requests.length)).toEqual([1, 1])
})

test('a hand-over aborts a call that is longer than the grace period, and another process makes it again', async () => {
  const database = await openDatabase()
  const first = await open(database, ['one', HANGS], LIMITED)
  const second = await open(database, ['two'], LIMITED)
  await second.polyphony.resumeInterrupted()
  const flowId = await createFlow(first.polyphony)
  await first.orchestrator.startFlow(flowId, 'ada', { input: 'hello', resumeAfterCrash: true, streaming: true })
  await expect.poll(() => first.provider.requests.length).toBe(2)
  await first.polyphony.close({ handOver: true, graceMs: 20 })
  for await (const _ of second.orchestrator.streamFlow(flowId, 'ada'));
  expect(await second.orchestrator.getFlow(flowId, 'ada')).toMatchObject({ status: 'COMPLETED', result: { finalOutput: 'two' } })
  expect(second.provider.requests).toHaveLength(1)
})
