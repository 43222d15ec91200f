import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { createScriptedProvider, type ScriptedReply } from '../../src/providers/scripted.ts'
import { step } from '../support/flows.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres } from '../support/postgres.ts'

const DEFINITION = { name: 'one step', type: 'sequential' as const, steps: [step('only', { prompt: 'original' })] }
const HANGS: ScriptedReply = { text: 'half of it', hang: true }

const ENGINES: readonly (readonly [string, () => PolyphonyConfigInput])[] = [
  ['local', () => ({ maxRunningFlows: 10 })],
  [
    'bullmq',
    () => ({
      engine: 'bullmq',
      bullmq: { queue: `polyphony-test-${randomBytes(6).toString('hex')}`, lockMs: 5_000, stalledMs: 2_000 },
    }),
  ],
]

async function open(config: PolyphonyConfigInput, replies: readonly ScriptedReply[]) {
  const provider = createScriptedProvider({ replies })
  const polyphony = await openTestPolyphony({ providers: { scripted: provider }, ...config })
  onTestFinished(() => polyphony.close())
  return { polyphony, provider, orchestrator: polyphony.orchestrator }
}

async function createFlow({ conversations, orchestrator }: Polyphony): Promise<string> {
  const thread = await conversations.createThread('ada')
  return (await orchestrator.createFlow(thread.id, 'ada', DEFINITION)).id
}

/** Holds back every write to the row of a flow until it is released. */
async function holdFlow(url: string, flowId: string) {
  const client = new pg.Client(url)
  await client.connect()
  onTestFinished(() => client.end())
  await client.query('begin')
  await client.query('select from polyphony_flows where id = $1 for update', [flowId])
  const countHeld = async () => {
    const { rows } = await client.query(
      "select count(*)::int as held from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    )
    return rows[0].held
  }
  return {
    client,
    untilHeld: () => expect.poll(countHeld).toBe(1),
    release: () => client.query('commit'),
  }
}

describe.each(ENGINES)('a flow that is cancelled while %s queues it', (_, configOf) => {
  async function prepare() {
    const { url, drop } = await openTestPostgres()
    onTestFinished(drop)
    const config = { database: url, ...configOf() }
    const starter = await open({ ...config, takesFlows: false }, [])
    const flowId = await createFlow(starter.polyphony)
    const held = await holdFlow(url, flowId)
    const openWorker = async (replies: readonly ScriptedReply[]) => {
      const worker = await open(config, replies)
      await worker.polyphony.resumeInterrupted()
      return worker
    }
    return { starter, flowId, held, openWorker }
  }

  test('by its signal is settled as cancelled, and no process runs it', async () => {
    const { starter, flowId, held, openWorker } = await prepare()
    const abort = new AbortController()
    const end = starter.orchestrator.executeFlow(flowId, 'ada', { input: 'x', signal: abort.signal })
    const refused = expect(end).rejects.toMatchObject({ code: 'FLOW_CANCELLED' })
    await held.untilHeld()
    abort.abort()
    await held.release()
    await refused
    expect(await starter.orchestrator.getFlowStatus(flowId)).toMatchObject({ status: 'CANCELLED' })
    const worker = await openWorker(['answer'])
    const next = await createFlow(starter.polyphony)
    expect((await starter.orchestrator.executeFlow(next, 'ada', { input: 'next' })).finalOutput).toBe('answer')
    expect(worker.provider.requests).toHaveLength(1)
  })

  test('by cancelFlow is settled as cancelled when that resolves', async () => {
    const { starter, flowId, held } = await prepare()
    const end = starter.orchestrator.executeFlow(flowId, 'ada', { input: 'x' })
    const refused = expect(end).rejects.toMatchObject({ code: 'FLOW_CANCELLED' })
    await held.untilHeld()
    const cancelled = starter.orchestrator.cancelFlow(flowId, 'ada')
    // By then the cancellation, whose reads are fewer, has found the run.
    for (let read = 0; read < 3; read++) await starter.orchestrator.getFlow(flowId, 'ada')
    await held.release()
    expect((await cancelled).status).toBe('CANCELLED')
    await refused
  })

  test('is cancelled as well if a worker takes it at the same time', async () => {
    const { starter, flowId, held, openWorker } = await prepare()
    await openWorker([HANGS])
    const abort = new AbortController()
    const end = starter.orchestrator.executeFlow(flowId, 'ada', { input: 'x', signal: abort.signal })
    const refused = expect(end).rejects.toMatchObject({ code: 'FLOW_CANCELLED' })
    await held.untilHeld()
    abort.abort()
    await held.release()
    await refused
    expect((await starter.orchestrator.getFlowStatus(flowId)).status).toBe('CANCELLED')
  })

  test('is left to another process that has started it first', async () => {
    const { starter, flowId, held } = await prepare()
    const abort = new AbortController()
    const end = starter.orchestrator.executeFlow(flowId, 'ada', { input: 'x', signal: abort.signal })
    const refused = expect(end).rejects.toMatchObject({ code: 'FLOW_ALREADY_RUNNING' })
    await held.untilHeld()
    abort.abort()
    await held.client.query(
      "update polyphony_flows set status = 'RUNNING', owner_id = 'another', owner_epoch = 1 where id = $1",
      [flowId],
    )
    await held.release()
    await refused
    expect(await starter.orchestrator.getFlow(flowId, 'ada')).toMatchObject({ status: 'RUNNING', ownerEpoch: 1 })
  })
})
