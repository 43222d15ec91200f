import { expect, test } from 'vitest'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import type { RegisteredFunction } from '../../src/domain/tools/functions.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'
import type { Store } from '../../src/repositories/repository.ts'
import { type Moment, openMortalProcess } from '../support/mortal-process.ts'

const USER = 'ada'
const definition: FlowDefinitionInput = {
  name: 'ship',
  type: 'sequential',
  steps: [{ id: 'ship', model: 'function/ship', action: 'run', arguments: {} }],
}

const pools = { yard: { members: [{ model: 'function/ship' }] } }
const pooled: FlowDefinitionInput = {
  name: 'ship',
  type: 'sequential',
  steps: [{ id: 'ship', model: 'pool/yard', action: 'run', arguments: {} }],
}

interface Effects {
  readonly keys: string[]
  readonly storedBefore: number[]
}

/** A process with a function that has an effect at once and whose result never arrives if the process dies. */
async function openProcess(store: Store, effects: Effects, { idempotent, dies }: { idempotent: boolean; dies: boolean }) {
  let die = () => {}
  let isDead = false
  const ship: RegisteredFunction = {
    idempotent,
    async run(_, { idempotencyKey, flowId }) {
      effects.keys.push(idempotencyKey)
      effects.storedBefore.push((await store.flows.intents(flowId)).length)
      if (!dies) return 'shipped'
      isDead = true
      die()
      return await new Promise(() => {})
    },
  }
  // The write of anything after the death never arrives.
  const diesAt = (moment: Moment) => isDead && moment === 'write'
  const process = await openMortalProcess({ store, reply: () => 'fine', diesAt, config: { functions: { ship }, pools } })
  const died = new Promise<'died'>((resolve) => {
    die = () => resolve('died')
  })
  return { ...process, died }
}

async function runAndDie(store: Store, effects: Effects, idempotent: boolean, flow = definition): Promise<string> {
  const { orchestrator, conversations, died } = await openProcess(store, effects, { idempotent, dies: true })
  const { id: threadId } = await conversations.createThread(USER, {})
  const { id: flowId } = await orchestrator.createFlow(threadId, USER, flow)
  void orchestrator.executeFlow(flowId, USER, { input: 'x' }).catch(() => undefined)
  await died
  await store.owners.interruptOrphanedFlows({ staleMs: 0, isDead: () => true })
  return flowId
}

test('the intent of a first step is stored before its function has an effect', async () => {
  const effects: Effects = { keys: [], storedBefore: [] }
  await runAndDie(createMemoryStore(), effects, false)
  expect(effects.storedBefore).toEqual([1])
})

test('a function that is not idempotent has its effect once: after a crash the flow asks', async () => {
  const store = createMemoryStore()
  const effects: Effects = { keys: [], storedBefore: [] }
  const flowId = await runAndDie(store, effects, false)
  const { orchestrator } = await openProcess(store, effects, { idempotent: false, dies: false })
  const ended = orchestrator.executeFlow(flowId, USER).catch((error: unknown) => error)
  await expect.poll(async () => (await orchestrator.getFlowStatus(flowId)).status).toBe('PAUSED')
  expect(effects.keys).toHaveLength(1)
  const [wait] = await orchestrator.listWaiting(USER)
  await orchestrator.signal(flowId, USER, wait?.path ?? '', { approved: false, hash: wait?.hash })
  expect(await ended).toMatchObject({ code: 'CALL_OUTCOME_UNKNOWN' })
  expect(effects.keys).toHaveLength(1)
  const [row] = await store.flows.stepResults(flowId)
  expect(row?.attempts).toMatchObject([{ possiblyDoubleBilled: true, cost: 0, usage: { totalTokens: 0 } }])
})

test.each([
  ['an idempotent function', definition],
  ['an idempotent function of a pool', pooled],
])('%s is called again after a crash, with the same key', async (_, flow) => {
  const store = createMemoryStore()
  const effects: Effects = { keys: [], storedBefore: [] }
  const flowId = await runAndDie(store, effects, true, flow)
  const { orchestrator } = await openProcess(store, effects, { idempotent: true, dies: false })
  expect(await orchestrator.executeFlow(flowId, USER)).toMatchObject({ finalOutput: 'shipped' })
  expect(effects.keys).toEqual([`${flowId}/ship#1`, `${flowId}/ship#1`])
  const [row] = await store.flows.stepResults(flowId)
  expect(row?.attempts).toHaveLength(2)
})
