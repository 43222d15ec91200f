import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import type { ExecuteFlowOptions } from '../../src/orchestrator/service-options.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { createScriptedProvider, type ScriptedReply } from '../../src/providers/scripted.ts'
import { step } from '../support/flows.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres } from '../support/postgres.ts'

const DEFINITION: FlowDefinitionInput = {
  name: 'two steps',
  type: 'sequential',
  steps: [step('first', { prompt: 'original' }), step('second', { prompt: 'original' })],
}
const HANGS: ScriptedReply = { text: 'half of it', hang: true }

/** A Polyphony over the database whose provider answers from the script. */
async function open(database: string, replies: readonly ScriptedReply[]) {
  const provider = createScriptedProvider({ replies })
  const polyphony = await openTestPolyphony({ database, providers: { scripted: provider } })
  onTestFinished(() => polyphony.close())
  return { polyphony, provider }
}

/** Starts the flow and resolves when its second step is under way. */
async function startUntilSecond(
  { orchestrator, conversations }: Polyphony,
  options: ExecuteFlowOptions,
  definition = DEFINITION,
): Promise<string> {
  const thread = await conversations.createThread('ada')
  const flow = await orchestrator.createFlow(thread.id, 'ada', definition)
  await orchestrator.startFlow(flow.id, 'ada', { input: 'hello', streaming: true, ...options })
  for await (const update of orchestrator.streamFlow(flow.id, 'ada')) {
    if (update.type === 'step_progress' && update.stepId === 'second') break
  }
  return flow.id
}

async function statusAtEnd({ orchestrator }: Polyphony, flowId: string): Promise<string> {
  for await (const _ of orchestrator.streamFlow(flowId, 'ada'));
  return (await orchestrator.getFlowStatus(flowId)).status
}

const databases = {
  async PGlite() {
    const directory = await mkdtemp(join(tmpdir(), 'polyphony-handing-over-'))
    return { url: `pglite://${directory}`, drop: () => rm(directory, { recursive: true }) }
  },
  Postgres: openTestPostgres,
}

test.each(Object.entries(databases))(
  'a flow that a closing process hands over is resumed by the next one (%s)',
  async (_, create) => {
    const { url, drop } = await create()
    onTestFinished(drop)
    const first = await open(url, ['one', HANGS])
    const flowId = await startUntilSecond(first.polyphony, { resumeAfterCrash: true, saveMessages: true })
    await first.polyphony.close({ handOver: true })

    const second = await open(url, ['two'])
    await second.polyphony.resumeInterrupted()
    expect(await statusAtEnd(second.polyphony, flowId)).toBe('COMPLETED')
    const flow = await second.polyphony.orchestrator.getFlow(flowId, 'ada')
    expect(flow.stepResults.map(({ output }) => output)).toEqual(['one', 'two'])
    // What the first process began is on the ledger, too.
    expect(flow.stepResults[1]?.attempts.map(({ number, aborted }) => [number, aborted])).toEqual([
      [1, true],
      [2, false],
    ])
    expect(second.provider.requests).toHaveLength(1)
    const messages = await second.polyphony.conversations.getMessages(flow.threadId, 'ada')
    expect(messages.map(({ content }) => content)).toEqual(['one', 'two'])
  },
)

test('the limits of an execution also apply to the process that resumes it', async () => {
  const { url, drop } = await openTestPostgres()
  onTestFinished(drop)
  const definition = { ...DEFINITION, steps: [step('first'), step('second'), step('third')] }
  const first = await open(url, ['one', HANGS])
  const flowId = await startUntilSecond(first.polyphony, { resumeAfterCrash: true, limits: { maxSteps: 2 } }, definition)
  await first.polyphony.close({ handOver: true })

  const second = await open(url, ['two', 'three'])
  await second.polyphony.resumeInterrupted()
  expect(await statusAtEnd(second.polyphony, flowId)).toBe('FAILED')
  expect(await second.polyphony.orchestrator.getFlowStatus(flowId)).toMatchObject({ error: { code: 'LIMIT_EXCEEDED' } })
  expect(second.provider.requests).toHaveLength(1)
})

test('a flow without resumeAfterCrash stays interrupted', async () => {
  const { url, drop } = await openTestPostgres()
  onTestFinished(drop)
  const first = await open(url, ['one', HANGS])
  const flowId = await startUntilSecond(first.polyphony, {})
  await first.polyphony.close({ handOver: true })

  const second = await open(url, ['two'])
  await second.polyphony.resumeInterrupted()
  expect(await statusAtEnd(second.polyphony, flowId)).toBe('FAILED')
  expect(await second.polyphony.orchestrator.getFlowStatus(flowId)).toMatchObject({ error: { code: 'FLOW_INTERRUPTED' } })
  expect(second.provider.requests).toEqual([])
})

test('a process without resumption resumes no flow', async () => {
  const { url, drop } = await openTestPostgres()
  onTestFinished(drop)
  const first = await open(url, ['one', HANGS])
  const flowId = await startUntilSecond(first.polyphony, { resumeAfterCrash: true })
  await first.polyphony.close({ handOver: true })

  const second = await open(url, ['two'])
  expect(await statusAtEnd(second.polyphony, flowId)).toBe('FAILED')
  expect(second.provider.requests).toEqual([])
})

test('a flow that another process has marked in the meantime is resumed once at the next start', async () => {
  const { url, drop } = await openTestPostgres()
  onTestFinished(drop)
  const first = await open(url, ['one', HANGS])
  const flowId = await startUntilSecond(first.polyphony, { resumeAfterCrash: true })
  await first.polyphony.close({ handOver: true })
  const commandLine = await open(url, [])
  expect(await statusAtEnd(commandLine.polyphony, flowId)).toBe('FAILED')
  await commandLine.polyphony.close()

  const servers = await Promise.all([open(url, ['two']), open(url, ['two'])])
  await Promise.all(servers.map(({ polyphony }) => polyphony.resumeInterrupted()))
  for (const { polyphony } of servers) expect(await statusAtEnd(polyphony, flowId)).toBe('COMPLETED')
  expect(servers.flatMap(({ provider }) => provider.requests)).toHaveLength(1)
})

test('closing waits for flows that end in time', async () => {
  const { polyphony, provider } = await open('memory://', ['one', { text: 'two', delayMs: 30 }])
  const flowId = await startUntilSecond(polyphony, {})
  await polyphony.close({ handOver: true, graceMs: 10_000 })
  expect(provider.requests).toHaveLength(2)
  expect((await polyphony.orchestrator.getFlowStatus(flowId)).status).toBe('COMPLETED')
})
