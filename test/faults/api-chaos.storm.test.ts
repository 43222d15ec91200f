import { afterAll, beforeAll, expect, test } from 'vitest'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { createLoopback, type Loopback } from '../support/loopback.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { SEED } from '../support/scale.ts'
import { unlessHung, watchProcess } from './observation.ts'
import { answerWell, WIRES } from './vendor-wires.ts'

const USER = 'ada'
const ROUNDS = 30
const WIDTH = 15
const observed = watchProcess()

let server: Loopback
beforeAll(async () => {
  server = await createLoopback(({ path, body, response }) => {
    const [wire] = WIRES
    if (wire) setTimeout(() => answerWell(wire, wire.isStreamed(path, body), response, 'words'), Math.random() * 20)
  })
})
afterAll(() => server.close())

function createDice(start: number) {
  let seed = start
  const roll = () => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff
    return (seed >> 8) / (1 << 23)
  }
  const pick = <T>(items: readonly T[]): T => {
    const item = items[Math.floor(roll() * items.length)]
    if (item === undefined) throw new Error('nothing to pick from')
    return item
  }
  return { roll, pick }
}

const deskStep = (id: string, samples?: number) => ({
  id,
  provider: 'desk',
  model: 'm',
  action: 'generate' as const,
  maxRetries: 0,
  samples,
})

test.each(['memory://', 'pglite://memory'])(
  'any calls in any order on %s succeed or end in a typed error, and no flow stays RUNNING',
  { timeout: 300_000 },
  async (database) => {
    const [wire] = WIRES
    if (!wire) throw new Error('no wire')
    const polyphony = await openTestPolyphony({ database, providers: { desk: wire.settings(server.url, 'sk-key') } })
    const { orchestrator, conversations } = polyphony
    const { roll, pick } = createDice(SEED)
    const threads: string[] = [(await conversations.createThread(USER)).id]
    const flows: string[] = []
    const remember = ({ id }: { readonly id: string }) => void flows.push(id)
    const acts: Readonly<Record<string, () => Promise<unknown>>> = {
      createThread: async () => threads.push((await conversations.createThread(USER)).id),
      addMessage: () => conversations.addMessage(pick(threads), USER, { role: 'user', content: 'more' }),
      createFlow: () => {
        const type = pick(['sequential', 'parallel'] as const)
        const steps = [deskStep('a', pick([1, 2])), deskStep('b'), deskStep('c')]
        return orchestrator.createFlow(pick(threads), USER, { name: 'x', type, input: 'q', steps }).then(remember)
      },
      execute: () => orchestrator.executeFlow(pick(flows), USER, { saveMessages: roll() < 0.5, streaming: roll() < 0.5 }),
      start: () => orchestrator.startFlow(pick(flows), USER),
      cancel: () => orchestrator.cancelFlow(pick(flows), USER),
      remove: () => orchestrator.deleteFlow(pick(flows), USER),
      status: () => orchestrator.getFlowStatus(pick(flows), USER),
      get: () => orchestrator.getFlow(pick(flows), USER),
      list: () => orchestrator.listFlows(pick(threads), USER),
      oneStep: () => orchestrator.executeStep(pick(flows), pick(['a', 'b', 'nobody']), USER),
      rerun: () => orchestrator.rerunFlow(pick(flows), USER, { fromStep: pick(['a', 'b', 'c']) }).then(remember),
      stream: async () => {
        const leave = new AbortController()
        setTimeout(() => leave.abort(), 40)
        for await (const _ of orchestrator.streamFlow(pick(flows), USER, { signal: leave.signal })) if (roll() < 0.1) break
      },
    }
    await acts.createFlow?.()

    const outcomes = new Map<string, number>()
    const act = async (name: string) => {
      await new Promise((resolve) => setTimeout(resolve, roll() * 20))
      let outcome = 'ok'
      try {
        await unlessHung(acts[name]?.() ?? Promise.resolve(), name)
      } catch (error) {
        if (!OrchestratorError.is(error)) throw error
        outcome = error.code
      }
      expect(['INTERNAL', 'DATABASE_UNAVAILABLE'], name).not.toContain(outcome)
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    }
    for (let round = 0; round < ROUNDS; round++) {
      await Promise.all(Array.from({ length: WIDTH }, () => act(pick(Object.keys(acts)))))
    }

    for (const flowId of flows) {
      const isGone = (error: unknown) => OrchestratorError.is(error) && error.code === 'FLOW_NOT_FOUND'
      // A flow that was started last may still run; following it ends with it.
      await orchestrator.cancelFlow(flowId, USER).catch((error: unknown) => expect(isGone(error)).toBe(true))
      const status = await orchestrator
        .getFlowStatus(flowId)
        .catch((error: unknown) => ({ status: isGone(error) ? 'GONE' : 'LOST' }))
      expect(['CANCELLED', 'COMPLETED', 'FAILED', 'GONE']).toContain(status.status)
    }
    await polyphony.close()
    expect(outcomes.get('ok')).toBeGreaterThan((ROUNDS * WIDTH) / 3)
    for (const code of ['FLOW_NOT_FOUND', 'FLOW_ALREADY_COMPLETED', 'STEP_NOT_FOUND'])
      expect(outcomes.get(code), code).toBeGreaterThan(0)
    expect(observed.rejections).toEqual([])
    expect(observed.warnings).toEqual([])
  },
)
