import { expect, test } from 'vitest'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import type { ScriptedReply } from '../../src/providers/scripted.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'
import type { StoredFlow } from '../../src/repositories/repository.ts'
import { chain, rejected, step } from '../support/flows.ts'
import { openMortalProcess } from '../support/mortal-process.ts'

const USER = 'ada'

/** A process on a store whose reads of recorded results can be held back, with a flow that has run once. */
async function afterOneRun(replies: ScriptedReply[]) {
  const memory = createMemoryStore()
  let hold: (() => Promise<void>) | undefined
  const store = {
    ...memory,
    flows: {
      ...memory.flows,
      intents: async (flowId: string) => {
        await hold?.()
        return memory.flows.intents(flowId)
      },
    },
  }
  const process = await openMortalProcess({ store, diesAt: () => false, reply: () => replies.shift() ?? 'fine' })
  const { id: threadId } = await process.conversations.createThread(USER, {})
  const { id: flowId } = await process.orchestrator.createFlow(threadId, USER, chain(step('a'), step('b')))
  await process.orchestrator.executeFlow(flowId, USER, { input: 'x' }).catch(() => undefined)
  return {
    ...process,
    flowId,
    /** The next execution stands still while it is opened; resolves when it does. */
    holdOpening: () =>
      new Promise<void>((opening) => {
        hold = () => {
          hold = undefined
          opening()
          return new Promise(() => {})
        }
      }),
    failOpening: (error: OrchestratorError) => {
      hold = () => {
        hold = undefined
        return Promise.reject(error)
      }
    },
  }
}

test('a flow that is cancelled while its execution is opened is cancelled, and its stream ends', async () => {
  const { orchestrator, flowId, sent, holdOpening } = await afterOneRun(['one', rejected()])
  const opening = holdOpening()
  const run = orchestrator.executeFlow(flowId, USER).catch((error: unknown) => error)
  await opening
  await orchestrator.cancelFlow(flowId, USER)
  expect(await run).toMatchObject({ code: 'FLOW_CANCELLED' })
  expect(await orchestrator.getFlowStatus(flowId)).toMatchObject({ status: 'CANCELLED', error: { code: 'FLOW_CANCELLED' } })
  const types = []
  for await (const { type } of orchestrator.streamFlow(flowId, USER)) types.push(type)
  expect(types.at(-1)).toBe('flow_cancelled')
  expect(sent).toHaveLength(2)
  expect(await orchestrator.executeFlow(flowId, USER)).toMatchObject({ status: 'COMPLETED' })
})

test('a flow whose execution cannot be opened fails with the reason and can be resumed', async () => {
  const { orchestrator, flowId, failOpening } = await afterOneRun(['one', rejected()])
  failOpening(new OrchestratorError('INTERNAL', 'a row that cannot be read'))
  await expect(orchestrator.executeFlow(flowId, USER)).rejects.toMatchObject({ code: 'INTERNAL' })
  expect(await orchestrator.getFlowStatus(flowId)).toMatchObject({ status: 'FAILED', error: { code: 'INTERNAL' } })
  expect(await orchestrator.executeFlow(flowId, USER)).toMatchObject({ status: 'COMPLETED' })
})

test('a single step that is cancelled while its execution is opened leaves the flow as it was', async () => {
  const { orchestrator, flowId, sent, holdOpening } = await afterOneRun(['one', 'two'])
  const before = await orchestrator.getFlow(flowId, USER)
  const opening = holdOpening()
  const run = orchestrator.executeStep(flowId, 'a', USER).catch((error: unknown) => error)
  await opening
  await orchestrator.cancelFlow(flowId, USER)
  expect(await run).toMatchObject({ code: 'FLOW_CANCELLED' })
  expect(await orchestrator.getFlow(flowId, USER)).toEqual({ ...before, ownerEpoch: 2 })
  expect(sent).toHaveLength(2)
  expect(await orchestrator.executeStep(flowId, 'a', USER)).toMatchObject({ status: 'SUCCESS' })
})

test.each([
  ['RUNNING', 'COMPLETED'],
  ['FAILED', 'COMPLETED'],
] as const)('a single step that read its flow while it was %s gives it back as it is by then, %s', async (read, ended) => {
  const memory = createMemoryStore()
  let stale: StoredFlow | undefined
  const find = async (flowId: string) => {
    const found = stale ?? (await memory.flows.find(flowId))
    stale = undefined
    return found
  }
  const replies: ScriptedReply[] = ['one', rejected(), 'two']
  const store = { ...memory, flows: { ...memory.flows, find } }
  const { orchestrator, conversations } = await openMortalProcess({
    store,
    diesAt: () => false,
    reply: () => replies.shift() ?? 'fine',
  })
  const { id: threadId } = await conversations.createThread(USER, {})
  const { id: flowId } = await orchestrator.createFlow(threadId, USER, chain(step('a'), step('b')))
  await orchestrator.executeFlow(flowId, USER, { input: 'x' }).catch(() => undefined)
  const failed = await memory.flows.find(flowId)
  await orchestrator.executeFlow(flowId, USER)
  const before = await memory.flows.find(flowId)
  stale = read === 'FAILED' ? failed : before && { ...before, status: 'RUNNING' }
  const ran = await orchestrator.executeStep(flowId, 'a', USER).catch((error: unknown) => error)
  // A flow that another process has run since it was read is read again.
  expect(ran).toMatchObject(read === 'FAILED' ? { status: 'SUCCESS' } : { code: 'FLOW_ALREADY_RUNNING' })
  expect(await memory.flows.find(flowId)).toMatchObject({ status: ended, completedAt: before?.completedAt })
  expect(await orchestrator.executeStep(flowId, 'a', USER)).toMatchObject({ status: 'SUCCESS' })
})
