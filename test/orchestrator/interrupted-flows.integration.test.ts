import { randomBytes } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'
import { openBullmqPool } from '../../src/engines/bullmq/postgres-schema.ts'
import type { ExecuteFlowOptions } from '../../src/orchestrator/service-options.ts'
import { createScriptedProvider, type ScriptedReply } from '../../src/providers/scripted.ts'
import { openStore } from '../../src/repositories/database.ts'
import { step } from '../support/flows.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres } from '../support/postgres.ts'

const DEFINITION = {
  name: 'two steps',
  type: 'sequential' as const,
  steps: [step('first', { prompt: 'original' }), step('second', { prompt: 'original' })],
}
const LIMITED = { maxRunningFlows: 100 }
const HANGS: ScriptedReply = { text: 'half of it', hang: true }

async function openDatabase() {
  const { url, drop } = await openTestPostgres()
  onTestFinished(drop)
  const open = async (replies: readonly ScriptedReply[], config: PolyphonyConfigInput) => {
    const provider = createScriptedProvider({ replies })
    const polyphony = await openTestPolyphony({ database: url, providers: { scripted: provider }, ...config })
    onTestFinished(() => polyphony.close())
    return { polyphony, provider, orchestrator: polyphony.orchestrator }
  }
  return { url, open }
}

/** One process that executes a flow up to the call of its second step, and a store that acts as another process. */
async function interruptible(
  config: PolyphonyConfigInput,
  options: ExecuteFlowOptions = {},
  later: readonly ScriptedReply[] = [],
) {
  const { url, open } = await openDatabase()
  const first = await open(['one', HANGS, ...later], config)
  const store = await openStore({ url })
  onTestFinished(() => store.close())
  const thread = await first.polyphony.conversations.createThread('ada')
  const { id: flowId } = await first.orchestrator.createFlow(thread.id, 'ada', DEFINITION)
  const updates: FlowUpdate[] = []
  const onUpdate = (update: FlowUpdate) => updates.push(update)
  const end = first.orchestrator.executeFlow(flowId, 'ada', { input: 'hello', onUpdate, streaming: true, ...options })
  end.catch(() => {})
  await expect.poll(() => first.provider.requests.length).toBe(2)
  const lastSeq = () => store.updates.lastSeq(flowId)
  // Updates that are not stored yet are lost with the execution.
  if ('onUpdate' in options) await expect.poll(lastSeq).toBeGreaterThan(0)
  else
    await expect
      .poll(async () => updates.some(({ type }) => type === 'step_progress') && (await lastSeq()))
      .toBe(updates.at(-1)?.seq)
  return {
    ...first,
    url,
    open,
    store,
    flowId,
    updates,
    end,
    /** Puts the flow back into the queue, as a process does that finds its owner dead. */
    async requeue() {
      const epoch = (await store.flows.find(flowId))?.ownerEpoch ?? 0
      expect(await store.queue.release({ flowId, epoch })).toBe(true)
    },
    async storedSeqs() {
      return (await store.updates.read(flowId, 0, 1_000)).map(({ seq }) => seq)
    },
    untilIdle: () => expect.poll(async () => (await first.polyphony.engineHealth()).running, { timeout: 5_000 }).toBe(0),
  }
}

test('executeFlow waits for a flow that another process takes over, with every update once', async () => {
  const flow = await interruptible(LIMITED, { resumeAfterCrash: true })
  const second = await flow.open(['two'], LIMITED)
  await second.polyphony.resumeInterrupted()
  await flow.requeue()
  expect(await flow.end).toMatchObject({ status: 'COMPLETED', finalOutput: 'two' })
  expect(second.provider.requests).toHaveLength(1)
  expect(flow.updates.map(({ seq }) => seq)).toEqual(await flow.storedSeqs())
  expect(flow.updates.map(({ type }) => type).filter((type) => type === 'flow_start' || type === 'flow_complete')).toEqual([
    'flow_start',
    'flow_start',
    'flow_complete',
  ])
})

test('executeFlow without onUpdate waits for a flow that another process takes over', async () => {
  const flow = await interruptible(LIMITED, { resumeAfterCrash: true, onUpdate: undefined })
  const second = await flow.open(['two'], LIMITED)
  await second.polyphony.resumeInterrupted()
  await flow.requeue()
  expect((await flow.end).finalOutput).toBe('two')
})

test('executeFlow waits for a flow whose lock its process has lost, also if the same process takes it again', async () => {
  const queue = `polyphony-test-${randomBytes(6).toString('hex')}`
  const config = { engine: 'bullmq' as const, bullmq: { queue, lockMs: 2_000, stalledMs: 1_000 } }
  const flow = await interruptible(config, {}, ['two'])
  const pool = openBullmqPool({ connectionString: flow.url })
  onTestFinished(() => pool.end())
  const { rowCount } = await pool.query(
    `update job set lock_token = 'another', locked_until_ms = locked_until_ms + 3600000 where queue = $1 and lock_token is not null`,
    [queue],
  )
  expect(rowCount).toBe(1)
  expect(await flow.end).toMatchObject({ status: 'COMPLETED', finalOutput: 'two' })
  expect(flow.provider.requests).toHaveLength(3)
  expect(flow.updates.map(({ seq }) => seq)).toEqual(await flow.storedSeqs())
})

test('a flow that nobody continues is refused at once', async () => {
  const flow = await interruptible({})
  expect(await flow.store.owners.interruptOrphanedFlows({ staleMs: 3_600_000, isDead: () => true })).toEqual([flow.flowId])
  await expect(flow.end).rejects.toMatchObject({ code: 'FLOW_INTERRUPTED' })
  expect((await flow.orchestrator.getFlowStatus(flow.flowId)).status).toBe('FAILED')
  expect(flow.updates.map(({ seq }) => seq)).toEqual(await flow.storedSeqs())
  expect(flow.updates.at(-1)?.type).toBe('error')
})

test('a flow that is cancelled after it was lost ends its wait', async () => {
  const flow = await interruptible(LIMITED, { resumeAfterCrash: true })
  await flow.requeue()
  await flow.untilIdle()
  expect((await flow.orchestrator.cancelFlow(flow.flowId, 'ada')).status).toBe('CANCELLED')
  await expect(flow.end).rejects.toMatchObject({ code: 'FLOW_CANCELLED' })
})

test('closing ends the wait for a flow that was lost, which stays queued', async () => {
  const flow = await interruptible(LIMITED, { resumeAfterCrash: true })
  await flow.requeue()
  await flow.untilIdle()
  await flow.polyphony.close()
  await expect(flow.end).rejects.toMatchObject({ code: 'FLOW_INTERRUPTED' })
  expect(await flow.store.queue.queuedAt(flow.flowId)).toBeInstanceOf(Date)
})
