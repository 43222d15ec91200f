import { expect, test } from 'vitest'
import type { FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import type { ScriptedReply } from '../../src/providers/scripted.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'
import type { Store } from '../../src/repositories/repository.ts'
import { chain, rejected, step } from '../support/flows.ts'
import { openMortalProcess } from '../support/mortal-process.ts'

const USER = 'ada'

const open = (store: Store, replies: ScriptedReply[] = []) =>
  openMortalProcess({ store, diesAt: () => false, reply: () => replies.shift() ?? 'fine' })

/** Two processes over one store, and a flow that the first has created. */
async function openBoth(repliesOfSecond: ScriptedReply[], steps: FlowStepInput[]) {
  const store = createMemoryStore()
  const [first, second] = [await open(store), await open(store, repliesOfSecond)]
  const { id: threadId } = await first.conversations.createThread(USER, {})
  const { id: flowId } = await first.orchestrator.createFlow(threadId, USER, chain(...steps))
  return { first, second, flowId }
}

test('a flow that another process has run since its creation is not run here with another input', async () => {
  const { first, second, flowId } = await openBoth(['one', rejected()], [step('a'), step('b')])
  await expect(second.orchestrator.executeFlow(flowId, USER, { input: 'cats' })).rejects.toMatchObject({
    code: 'PROVIDER_REJECTED',
  })
  await expect(first.orchestrator.executeFlow(flowId, USER, { input: 'dogs' })).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  expect(first.sent).toEqual([])
  expect(await first.orchestrator.executeFlow(flowId, USER)).toMatchObject({ status: 'COMPLETED' })
  expect(first.sent).toHaveLength(1)
})

test('a flow that another process has completed since its creation is completed', async () => {
  const { first, second, flowId } = await openBoth([], [step('a')])
  await second.orchestrator.executeFlow(flowId, USER, { input: 'cats' })
  await expect(first.orchestrator.executeFlow(flowId, USER, { input: 'cats' })).rejects.toMatchObject({
    code: 'FLOW_ALREADY_COMPLETED',
  })
})

test('a flow that has paused in another process since its creation is waited for', async () => {
  const { first, second, flowId } = await openBoth(
    [],
    [{ id: 'ok', action: 'approve', approval: { prompt: 'Go on?' } }, step('a')],
  )
  await second.orchestrator.startFlow(flowId, USER, { input: 'cats' })
  await expect.poll(async () => (await second.orchestrator.getFlowStatus(flowId)).status).toBe('PAUSED')
  const end = first.orchestrator.executeFlow(flowId, USER, { input: 'cats' })
  const [wait] = await first.orchestrator.listWaiting(USER)
  await first.orchestrator.signal(flowId, USER, 'ok', { approved: true, hash: wait?.hash })
  expect(await end).toMatchObject({ status: 'COMPLETED', finalOutput: 'fine' })
})

test('a flow that was cancelled before its start keeps the input of its definition', async () => {
  const { orchestrator, conversations } = await open(createMemoryStore())
  const { id: threadId } = await conversations.createThread(USER, {})
  const { id: flowId } = await orchestrator.createFlow(threadId, USER, { ...chain(step('a')), input: 'cats' })
  await orchestrator.cancelFlow(flowId, USER)
  expect(await orchestrator.executeFlow(flowId, USER)).toMatchObject({ status: 'COMPLETED' })
})

test('a flow that is being cancelled belongs to the process that cancels it, so that it does not look orphaned', async () => {
  const memory = createMemoryStore()
  const owners: string[] = []
  const claim: typeof memory.journal.claim = (claimed) => {
    owners.push(claimed.ownerId)
    return memory.journal.claim(claimed)
  }
  const { orchestrator, conversations } = await open({ ...memory, journal: { ...memory.journal, claim } })
  const { id: threadId } = await conversations.createThread(USER, {})
  const create = async () => (await orchestrator.createFlow(threadId, USER, chain(step('a')))).id
  await orchestrator.executeFlow(await create(), USER, { input: 'cats' })
  await orchestrator.cancelFlow(await create(), USER)
  expect(owners).toHaveLength(2)
  expect(owners[1]).toBe(owners[0])
})
