import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import type { FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import type { Attempt, StepResult } from '../../src/domain/execution/step-result.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'
import { type MortalProcessOptions, openMortalProcess } from '../support/mortal-process.ts'
import { calling, type ReceivedCall } from '../support/tool-world.ts'

const USER = 'ada'
const runStep: FlowStepInput = { id: 'ship', model: 'function/ship', action: 'run', arguments: {} }
const toolStep: FlowStepInput = { id: 'ship', model: 'scripted/m', action: 'generate', tools: ['function/*'] }
const STEPS = [
  ['a step that runs it', runStep],
  ['a model that calls it', toolStep],
] as const

const untilAborted = ({ signal }: ReceivedCall) =>
  new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))

/** A flow that was handed over during the first call of an operation, and a process that continues it. */
async function handOver(step: FlowStepInput, idempotent: boolean) {
  const store = createMemoryStore()
  const effects: ReceivedCall[] = []
  const run = (_: unknown, call: ReceivedCall) => (effects.push(call) === 1 ? untilAborted(call) : 'shipped')
  const options: MortalProcessOptions = {
    store,
    diesAt: () => false,
    reply: ({ messages, tools }) => (messages.length > 1 || !tools ? 'the answer' : calling(['ship', {}])),
    tools: { ship: { input: z.strictObject({}), idempotent, run } },
    config: { maxRunningFlows: 1 },
  }
  const leaving = await openMortalProcess(options)
  const { id: threadId } = await leaving.conversations.createThread(USER, {})
  const create = (steps: FlowStepInput[]) =>
    leaving.orchestrator.createFlow(threadId, USER, { name: 'ship', type: 'sequential', steps })
  const { id: flowId } = await create([step])
  const others = await Promise.all([1, 2].map(() => create([{ id: 'other', model: 'scripted/m', action: 'generate' }])))
  leaving.orchestrator.executeFlow(flowId, USER, { input: 'x', resumeAfterCrash: true }).catch(() => undefined)
  await expect.poll(() => effects.length).toBe(1)
  await leaving.cancelAll(new OrchestratorError('FLOW_INTERRUPTED', 'The process closes'))
  expect(await store.queue.release({ flowId, epoch: 1 })).toBe(true)
  const { orchestrator } = await openMortalProcess(options)
  // A process that is full takes the oldest flow of the queue when one of its own has ended.
  await Promise.all(others.map(({ id }) => orchestrator.executeFlow(id, USER, { input: 'x' })))
  const status = async () => (await orchestrator.getFlowStatus(flowId)).status
  return { store, effects, flowId, orchestrator, status }
}

const marks = ([result]: readonly StepResult[]) => result?.attempts.map(({ model, error }) => [model, error?.code])

const lastIsLost = (attempts: readonly Attempt[]) => attempts.at(-1)?.error?.code === 'CALL_OUTCOME_UNKNOWN'

describe.each(STEPS)('an operation that a hand-over cuts: %s', (_name, step) => {
  test('is not repeated unasked, and fails the step if the user rejects the repetition', async () => {
    const { store, effects, flowId, orchestrator, status } = await handOver(step, false)
    await expect.poll(status).toBe('PAUSED')
    expect(effects).toHaveLength(1)
    const [wait] = await orchestrator.listWaiting(USER)
    await orchestrator.signal(flowId, USER, wait?.path ?? '', { approved: false, hash: wait?.hash })
    await expect.poll(status).toBe('FAILED')
    expect(effects).toHaveLength(1)
    expect(marks(await store.flows.stepResults(flowId))?.at(-1)).toEqual(['ship', 'FLOW_INTERRUPTED'])
    // The flow has ended with the call on its ledger, and executing it again makes the call again.
    expect(await orchestrator.executeFlow(flowId, USER)).toMatchObject({ status: 'COMPLETED' })
    expect(effects).toHaveLength(2)
  })

  test('is repeated if the user approves it', async () => {
    const { effects, flowId, orchestrator, status } = await handOver(step, false)
    await expect.poll(status).toBe('PAUSED')
    const [wait] = await orchestrator.listWaiting(USER)
    await orchestrator.signal(flowId, USER, wait?.path ?? '', { approved: true, hash: wait?.hash })
    await expect.poll(status).toBe('COMPLETED')
    expect(effects).toHaveLength(2)
  })

  test('is repeated with the same key if it is idempotent', async () => {
    const { effects, status } = await handOver(step, true)
    await expect.poll(status).toBe('COMPLETED')
    expect(new Set(effects.map(({ origin }) => origin?.idempotencyKey)).size).toBe(1)
    expect(effects).toHaveLength(2)
  })

  test('is asked about again if the flow is handed over before the user has decided about a crash', async () => {
    const store = createMemoryStore()
    const effects: ReceivedCall[] = []
    let isSlow = true
    const options: MortalProcessOptions = {
      store,
      diesAt: () => false,
      reply: ({ messages, tools }) => {
        if (tools) return messages.length > 1 ? 'the answer' : calling(['ship', {}])
        return isSlow && messages[0]?.content.includes('slowly') ? { text: '', hang: true } : 'done'
      },
      tools: { ship: { input: z.strictObject({}), run: (_, call) => effects.push(call) } },
      config: { maxRunningFlows: 1 },
    }
    const dying = await openMortalProcess({ ...options, diesAt: (moment) => moment === 'effect' })
    const { id: threadId } = await dying.conversations.createThread(USER, {})
    const slow: FlowStepInput = { id: 'slow', model: 'scripted/m', action: 'generate', prompt: 'slowly' }
    const create = (steps: FlowStepInput[]) =>
      dying.orchestrator.createFlow(threadId, USER, { name: 'ship', type: 'parallel', steps })
    const { id: flowId } = await create([step, slow])
    /** A process that is full takes the oldest flow of the queue when one of its own has ended. */
    const takeOver = async () => {
      const process = await openMortalProcess(options)
      const others = await Promise.all(
        [1, 2].map(() =>
          create([
            { ...slow, prompt: 'fast' },
            { ...slow, id: 'b', prompt: 'fast' },
          ]),
        ),
      )
      for (const { id } of others) process.orchestrator.executeFlow(id, USER, { input: 'x' }).catch(() => undefined)
      return process
    }
    dying.orchestrator.executeFlow(flowId, USER, { input: 'x', resumeAfterCrash: true }).catch(() => undefined)
    expect(await dying.death).toBe('died')
    expect(await store.queue.requeueOrphans({ staleMs: 0, isDead: () => true })).toEqual([flowId])
    const leaving = await takeOver()
    await expect.poll(async () => (await store.flows.stepResults(flowId)).some(({ attempts }) => lastIsLost(attempts))).toBe(true)
    await leaving.cancelAll(new OrchestratorError('FLOW_INTERRUPTED', 'The process closes'))
    expect(await store.queue.release({ flowId, epoch: (await store.flows.find(flowId))?.ownerEpoch ?? 0 })).toBe(true)
    isSlow = false
    const { orchestrator } = await takeOver()
    await expect.poll(async () => (await orchestrator.getFlowStatus(flowId)).status).toBe('PAUSED')
    expect(effects).toHaveLength(1)
  })
})
