import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import type { FlowStepInput } from '../../../src/domain/definition/flow-definition.ts'
import type { ModelRequest } from '../../../src/domain/execution/model-call.ts'
import { createMemoryStore } from '../../../src/repositories/memory/memory-store.ts'
import { type Moment, openMortalProcess } from '../../support/mortal-process.ts'
import { calling, type ReceivedCall } from '../../support/tool-world.ts'

const USER = 'ada'

const definition = (step: Partial<FlowStepInput> = {}) => ({
  name: 'crashes',
  type: 'sequential' as const,
  steps: [{ id: 'answer', model: 'scripted/m', action: 'generate' as const, tools: ['function/*'], ...step }],
})

/** Two turns with two calls each, then an answer. */
const reply = ({ messages }: ModelRequest) => {
  const turn = messages.filter(({ role }) => role === 'assistant').length + 1
  if (turn === 3) return 'the answer'
  return calling(['set', { value: turn }], ['send', { text: `turn ${turn}` }])
}

/** A world whose tools have effects: `set` may be repeated, `send` must not. */
async function createWorld(step?: Partial<FlowStepInput>) {
  const store = createMemoryStore()
  const effects: ReceivedCall[] = []
  const effect = (_: unknown, call: ReceivedCall) => `done ${effects.push(call)}`
  const tools = {
    set: { input: z.strictObject({ value: z.number() }), idempotent: true, run: effect },
    send: { input: z.strictObject({ text: z.string() }), run: effect },
  }
  const config = { pools: { writers: { members: [{ model: 'scripted/m' }] } } }
  const immortal = { store, reply, tools, config, diesAt: () => false }
  const first = await openMortalProcess(immortal)
  const { id: threadId } = await first.conversations.createThread(USER, {})
  const { id: flowId } = await first.orchestrator.createFlow(threadId, USER, definition(step))
  const asked: number[] = []
  return {
    flowId,
    effects,
    asked,
    store,
    /** Runs the flow in a new process. `repeat`: the answer to the question whether a lost call may be repeated. */
    async run(diesAt: (moment: Moment) => boolean, repeat = true): Promise<unknown> {
      const process = await openMortalProcess({ ...immortal, diesAt })
      const { orchestrator, sent, death } = process
      let isOver = false
      const ended = orchestrator.executeFlow(flowId, USER, { input: 'x' }).catch((error: unknown) => error)
      const over = Promise.race([ended, death]).finally(() => {
        isOver = true
      })
      while (!isOver) {
        await new Promise(setImmediate)
        if ((await orchestrator.getFlowStatus(flowId)).status !== 'PAUSED') continue
        for (const { path, hash, kind } of await orchestrator.listWaiting(USER)) {
          expect(kind).toBe('tool')
          await orchestrator.signal(flowId, USER, path, { approved: repeat, hash })
        }
      }
      const end = await over
      asked.push(...sent.map(({ messages }) => messages.filter(({ role }) => role === 'assistant').length + 1))
      if (end === 'died') await store.owners.interruptOrphanedFlows({ staleMs: 0, isDead: () => true })
      return end
    },
  }
}

const times = (n: number) => {
  let seen = 0
  return () => ++seen === n
}

describe('a process that dies in a tool loop', () => {
  test.each(['scripted/m', 'pool/writers'])(
    'at every moment, asking %s: the flow completes, no recorded turn is paid again and no effect is doubled unasked',
    async (model) => {
      let moments = 0
      await (await createWorld({ model })).run(() => {
        moments++
        return false
      })
      expect(moments).toBeGreaterThan(15)
      let unknown = 0
      // After the last write nothing is left to do.
      for (let moment = 1; moment < moments; moment++) {
        const world = await createWorld({ model })
        const end = await world.run(times(moment))
        if (end === 'died') {
          const repeated = await world.run(() => false)
          expect(repeated, `moment ${moment}`).toMatchObject({ status: 'COMPLETED', finalOutput: 'the answer' })
        }
        const keysOf = (operation: string) =>
          world.effects.filter((call) => call.operation === operation).map(({ origin }) => origin?.idempotencyKey)
        // Counted by their keys, as the receiver of a repeated call does.
        expect(new Set(keysOf('set')).size, `moment ${moment}`).toBe(2)
        const results = await world.store.flows.stepResults(world.flowId)
        const lost = results.flatMap(({ attempts }) => attempts.filter(({ possiblyDoubleBilled }) => possiblyDoubleBilled))
        const sends = keysOf('send').length - 2
        expect(lost.filter(({ model }) => model === 'send').length, `moment ${moment}`).toBeGreaterThanOrEqual(sends)
        const paidAgain = world.asked.length - 3
        expect(lost.filter(({ model }) => model === 'm').length, `moment ${moment}`).toBeGreaterThanOrEqual(paidAgain)
        expect(lost.length).toBeLessThanOrEqual(2)
        unknown += lost.length
        expect(results[0]).toMatchObject({ turns: 3 })
        expect(results[0]?.toolCalls).toHaveLength(4)
      }
      expect(unknown).toBeGreaterThan(0)
    },
  )

  test('a lost call of a tool that must not be repeated fails the step where the user rejects it, or the step says so', async () => {
    for (const onUnknown of [undefined, 'fail'] as const) {
      const world = await createWorld({ onUnknown })
      let sends = 0
      // The second effect of the flow is that of `send`.
      await world.run((moment) => moment === 'effect' && ++sends === 2)
      expect(await world.run(() => false, false)).toMatchObject({ code: 'CALL_OUTCOME_UNKNOWN' })
      expect(world.effects.map(({ operation }) => operation)).toEqual(['set', 'send'])
      const [result] = await world.store.flows.stepResults(world.flowId)
      expect(result?.attempts.filter(({ possiblyDoubleBilled }) => possiblyDoubleBilled)).toMatchObject([{ model: 'send' }])
      // Executing the flow again repeats the call.
      expect(await world.run(() => false)).toMatchObject({ status: 'COMPLETED' })
      expect(world.effects.map(({ operation }) => operation)).toEqual(['set', 'send', 'send', 'set', 'send'])
    }
  })

  test('samples have turns of their own, and two crashes in a row lose none of them', async () => {
    const world = await createWorld({ samples: 2 })
    expect(await world.run(times(14))).toBe('died')
    await world.run(times(12))
    expect(await world.run(() => false)).toMatchObject({ status: 'COMPLETED', finalOutput: 'the answer' })
    const rows = await world.store.flows.turns(world.flowId)
    for (const sample of [1, 2]) {
      const turns = rows.filter((row) => row.sample === sample && row.data.kind === 'turn').map(({ data }) => data.turn)
      expect(turns).toEqual([1, 2])
    }
  })
})
