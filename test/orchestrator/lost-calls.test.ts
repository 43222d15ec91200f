import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { FlowDefinitionInput, FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import type { StepResult } from '../../src/domain/execution/step-result.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import type { OrchestratorService } from '../../src/orchestrator/orchestrator-service.ts'
import type { ExecuteFlowOptions } from '../../src/orchestrator/service-options.ts'
import type { ScriptedReply } from '../../src/providers/scripted.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'
import type { Store } from '../../src/repositories/repository.ts'
import { chain, step } from '../support/flows.ts'
import { type Moment, type MortalProcessOptions, openMortalProcess } from '../support/mortal-process.ts'
import { SEED } from '../support/scale.ts'

const USER = 'ada'
const PRICE = { inputPerMillion: 1_000_000, outputPerMillion: 1_000 }
const config = { prices: { 'scripted/m': PRICE } }

interface World {
  readonly store: Store
  readonly flowId: string
  /** Texts of the last messages of all requests, over all processes. */
  readonly asked: string[]
  /** Starts the flow in a new process; resolves when it has ended there or the process has died. */
  run(options?: Partial<MortalProcessOptions>): Promise<unknown>
  /** Starts the flow in a new process and decides about the first step that waits; resolves when the flow has ended. */
  runAndDecide(approved: boolean): Promise<unknown>
  results(): Promise<readonly StepResult[]>
}

async function createWorld(definition: FlowDefinitionInput, reply: MortalProcessOptions['reply'] = () => 'fine'): Promise<World> {
  const store = createMemoryStore()
  const asked: string[] = []
  const immortal = { store, reply, config, diesAt: () => false }
  const first = await openMortalProcess(immortal)
  const { id: threadId } = await first.conversations.createThread(USER, {})
  const { id: flowId } = await first.orchestrator.createFlow(threadId, USER, definition)
  return {
    store,
    flowId,
    asked,
    async run(options = {}) {
      const process = await openMortalProcess({ ...immortal, ...options })
      const ended = process.orchestrator.executeFlow(flowId, USER, { input: 'x' }).catch((error: unknown) => error)
      const end = await Promise.race([ended, process.death])
      asked.push(...process.sent.map(({ messages }) => messages.at(-1)?.content ?? ''))
      if (end === 'died') await store.owners.interruptOrphanedFlows({ staleMs: 0, isDead: () => true })
      return end
    },
    async runAndDecide(approved) {
      const { orchestrator, sent } = await openMortalProcess(immortal)
      const ended = orchestrator.executeFlow(flowId, USER, { input: 'x' }).catch((error: unknown) => error)
      while ((await orchestrator.getFlowStatus(flowId)).status !== 'PAUSED') await new Promise(setImmediate)
      expect(sent).toEqual([])
      const [wait] = await orchestrator.listWaiting(USER)
      expect(wait).toMatchObject({ kind: 'approve', mayAnswer: true })
      await orchestrator.signal(flowId, USER, wait?.path ?? '', { approved, hash: wait?.hash })
      const end = await ended
      asked.push(...sent.map(({ messages }) => messages.at(-1)?.content ?? ''))
      return end
    },
    results: () => store.flows.stepResults(flowId),
  }
}

/** Dies at the n-th moment of a kind, from 1. */
const diesAt = (moment: Moment, n: number) => {
  let count = 0
  return (found: Moment) => found === moment && ++count === n
}

const untilQueued = (orchestrator: OrchestratorService, flowId: string) =>
  expect.poll(async () => (await orchestrator.getFlowStatus(flowId)).queuedAt).toBeInstanceOf(Date)

/** A process that runs one flow at once and is running one. */
async function openFull(store: Store) {
  let isFree = false
  const reply = (): ScriptedReply => (isFree ? 'fine' : { text: 'half of it', hang: true })
  const process = await openMortalProcess({ store, reply, diesAt: () => false, config: { ...config, maxRunningFlows: 1 } })
  const { orchestrator, conversations, sent } = process
  const { id: threadId } = await conversations.createThread(USER, {})
  const create = async () => (await orchestrator.createFlow(threadId, USER, chain(step('a')))).id
  const running = await create()
  await orchestrator.startFlow(running, USER, { input: 'x', streaming: true })
  await expect.poll(() => sent.length).toBe(1)
  return {
    orchestrator,
    sent,
    /** Starts a further flow, which waits in the queue. */
    async queue(options: ExecuteFlowOptions = {}) {
      const flowId = await create()
      const end = orchestrator.executeFlow(flowId, USER, { input: 'x', ...options })
      end.catch(() => undefined)
      await untilQueued(orchestrator, flowId)
      return { flowId, end }
    },
    /** Ends the flow that runs; later calls are answered. */
    async free() {
      isFree = true
      await orchestrator.cancelFlow(running, USER)
    },
  }
}

/** Whether the attempts of the only step are marked as perhaps billed twice. */
async function lostMarksOf(store: Store, flowId: string): Promise<readonly boolean[]> {
  const [result] = await store.flows.stepResults(flowId)
  return (result?.attempts ?? []).map(({ possiblyDoubleBilled = false }) => possiblyDoubleBilled)
}

const lostOf = (result: StepResult | undefined) => result?.attempts.filter((attempt) => attempt.possiblyDoubleBilled) ?? []
const resultOf = async (world: World, id: string) => (await world.results()).find(({ stepId }) => stepId === id)
const unavailable = () => new OrchestratorError('PROVIDER_UNAVAILABLE', 'not now')
const promptOf = (asked: string): string => /do (\w+)/.exec(asked)?.[1] ?? ''

describe('a call in flight at a crash', () => {
  test('a flow that was queued here and died in another process comes back with its lost call', async () => {
    const store = createMemoryStore()
    const here = await openFull(store)
    const { flowId, end } = await here.queue({ resumeAfterCrash: true })
    await store.owners.heartbeat({ id: 'another', host: 'elsewhere', pid: 1 })
    const claim = { ownerId: 'another', startedAt: new Date(), registered: [] }
    expect(await store.queue.claimNext(claim)).toEqual({ flowId, epoch: 1 })
    expect(await store.queue.requeueOrphans({ staleMs: 60_000, isDead: ({ id }) => id === 'another' })).toEqual([flowId])
    await here.free()
    expect(await end).toMatchObject({ status: 'COMPLETED' })
    expect(await lostMarksOf(store, flowId)).toEqual([true, false])
  })

  test('a flow that another process handed over before its first call has no lost call', async () => {
    const store = createMemoryStore()
    const here = await openFull(store)
    const { flowId, end } = await here.queue({ resumeAfterCrash: true })
    const claim = { ownerId: 'another', startedAt: new Date(), registered: [] }
    expect(await store.queue.claimNext(claim)).toEqual({ flowId, epoch: 1 })
    expect(await store.queue.release({ flowId, epoch: 1 })).toBe(true)
    await here.free()
    expect(await end).toMatchObject({ status: 'COMPLETED' })
    expect(await lostMarksOf(store, flowId)).toEqual([false])
  })

  test('a flow that was cancelled while it was queued, and is started again, has no lost call in another process', async () => {
    const store = createMemoryStore()
    const [here, other] = [await openFull(store), await openFull(store)]
    const { flowId, end } = await here.queue()
    await here.orchestrator.cancelFlow(flowId, USER)
    await expect(end).rejects.toMatchObject({ code: 'FLOW_CANCELLED' })
    const again = here.orchestrator.executeFlow(flowId, USER)
    await untilQueued(here.orchestrator, flowId)
    // Takes the oldest flow of the queue as soon as it has a free place.
    const later = await other.queue()
    await other.free()
    expect(await again).toMatchObject({ status: 'COMPLETED' })
    expect(await later.end).toMatchObject({ status: 'COMPLETED' })
    expect(here.sent).toHaveLength(1)
    expect(await lostMarksOf(store, flowId)).toEqual([false])
  })

  test('the lost call is an attempt of its own with its estimated cost, which totals count', async () => {
    const world = await createWorld(chain(step('a', { settings: { maxTokens: 10 } }), step('b', { settings: { maxTokens: 10 } })))
    expect(await world.run({ diesAt: diesAt('answer', 2) })).toBe('died')
    const [intent] = await world.store.flows.intents(world.flowId)
    expect(intent).toMatchObject({
      path: 'b',
      iteration: 1,
      sample: 0,
      number: 1,
      provider: 'scripted',
      model: 'm',
      outputTokens: 10,
    })
    expect(intent?.idempotencyKey).toMatch(/^[0-9a-f-]{36}$/)

    const result = await world.run()
    expect(result).toMatchObject({ status: 'COMPLETED' })
    const b = await resultOf(world, 'b')
    const cost = (intent?.inputTokens ?? 0) + 0.01
    expect(b?.attempts).toMatchObject([
      {
        number: 1,
        possiblyDoubleBilled: true,
        aborted: true,
        cost,
        costSource: 'estimated',
        error: { code: 'CALL_OUTCOME_UNKNOWN' },
      },
      { number: 2, aborted: false },
    ])
    expect(b?.attempts[1]?.possiblyDoubleBilled).toBeUndefined()
    expect(result).toMatchObject({ totalCost: cost })
    const { rows } = await world.store.usage.sum({ userId: USER, groupBy: [], limit: 1 })
    expect(rows[0]).toMatchObject({ costUsd: cost, calls: 3 })
    expect(await world.store.flows.intents(world.flowId)).toEqual([])
    expect(world.asked.map(promptOf)).toEqual(['a', 'b', 'b'])
  })

  test('a crash that left no trace but the claim counts the call of the first step as lost', async () => {
    const world = await createWorld(chain(step('a'), step('b')))
    // On a busy machine the first write may come before the answer.
    expect(await world.run({ diesAt: (moment) => moment === 'write' || moment === 'answer' })).toBe('died')
    expect(await world.store.flows.intents(world.flowId)).toEqual([])
    expect(await world.run()).toMatchObject({ status: 'COMPLETED' })
    expect(lostOf(await resultOf(world, 'a'))).toMatchObject([{ number: 1, costSource: 'estimated' }])
    expect(lostOf(await resultOf(world, 'b'))).toEqual([])
  })

  test('parallel first steps that left no trace stay lost when the next process dies while it records them', async () => {
    const steps = [step('a'), step('b')]
    const world = await createWorld({ name: 'both', type: 'parallel', steps })
    await world.run({ diesAt: diesAt('request', 2) })
    let moments = 0
    await world.run({ diesAt: () => moments++ === 1 })
    expect(await world.run()).toMatchObject({ status: 'COMPLETED' })
    const attempts = (await world.results()).flatMap((result) => result.attempts)
    expect(attempts.length).toBeGreaterThanOrEqual(world.asked.length)
  })

  test('samples of first steps that left no trace stay lost when the next process dies while it records them', async () => {
    const steps = [step('a', { samples: 2 }), step('b', { samples: 2 })]
    const world = await createWorld({ name: 'both', type: 'parallel', steps })
    for (let run = 0; run < 2; run++) {
      let moments = 0
      expect(await world.run({ diesAt: () => moments++ === 3 })).toBe('died')
    }
    expect(await world.run()).toMatchObject({ status: 'COMPLETED' })
    const rows = await world.store.flows.stepResults(world.flowId, { samples: true })
    expect(rows.flatMap(({ attempts }) => attempts).length).toBeGreaterThanOrEqual(world.asked.length)
  })

  test('the lost call counts against the limits of the flow', async () => {
    const cheap = { settings: { maxTokens: 1 } }
    const world = await createWorld({ ...chain(step('a', cheap), step('b', cheap)), limits: { maxTokens: 100_000 } })
    await world.run({ diesAt: diesAt('answer', 2) })
    const [intent] = await world.store.flows.intents(world.flowId)
    const perCall = (intent?.inputTokens ?? 0) + 1
    const process = await openMortalProcess({ store: world.store, config, diesAt: () => false, reply: () => 'fine' })
    const refused = process.orchestrator.executeFlow(world.flowId, USER, { limits: { maxTokens: perCall + 1 } })
    await expect(refused).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
    expect(process.sent).toEqual([])
  })

  test('attempts before a lost retry stay on the ledger', async () => {
    const replies: ScriptedReply[] = ['fine', unavailable(), 'fine']
    const world = await createWorld(chain(step('a'), step('b')), () => replies.shift() ?? 'fine')
    expect(await world.run({ diesAt: diesAt('answer', 3) })).toBe('died')
    expect((await resultOf(world, 'b'))?.status).toBe('RUNNING')
    expect(await world.run()).toMatchObject({ status: 'COMPLETED' })
    expect((await resultOf(world, 'b'))?.attempts).toMatchObject([
      { number: 1, error: { code: 'PROVIDER_UNAVAILABLE' } },
      { number: 2, possiblyDoubleBilled: true },
      { number: 3, aborted: false },
    ])
  })

  test('a lost fallback is on the ledger with the model that was asked', async () => {
    const replies: ScriptedReply[] = ['fine', unavailable()]
    const fallbacks = [{ provider: 'scripted', model: 'other' }]
    const world = await createWorld(chain(step('a'), step('b', { maxRetries: 0, fallbacks })), () => replies.shift() ?? 'fine')
    await world.run({ diesAt: diesAt('answer', 3) })
    await world.run()
    expect((await resultOf(world, 'b'))?.attempts.map(({ model }) => model)).toEqual(['m', 'other', 'm'])
  })

  test('a step that must not repeat a lost call fails, the call stays on the ledger, and executing again repeats it', async () => {
    const world = await createWorld(chain(step('a'), step('b', { onUnknown: 'fail' })))
    await world.run({ diesAt: diesAt('answer', 2) })
    expect(await world.run()).toMatchObject({ code: 'CALL_OUTCOME_UNKNOWN', details: { stepId: 'b' } })
    expect(await resultOf(world, 'b')).toMatchObject({ status: 'FAILED', error: { code: 'CALL_OUTCOME_UNKNOWN' } })
    expect(lostOf(await resultOf(world, 'b'))).toHaveLength(1)
    expect(world.asked.map(promptOf)).toEqual(['a', 'b'])
    expect(await world.run()).toMatchObject({ status: 'COMPLETED' })
    expect(world.asked.map(promptOf)).toEqual(['a', 'b', 'b'])
  })

  test('a step that must not repeat a lost call does not repeat it after a second crash either', async () => {
    const world = await createWorld(chain(step('a'), step('b', { onUnknown: 'fail' })))
    await world.run({ diesAt: diesAt('answer', 2) })
    expect(await world.run({ diesAt: diesAt('written', 1) })).toBe('died')
    expect(await world.store.flows.intents(world.flowId)).toEqual([])
    expect(await world.run()).toMatchObject({ code: 'CALL_OUTCOME_UNKNOWN' })
    expect(world.asked.map(promptOf)).toEqual(['a', 'b'])
  })
})

describe('a step that asks before it repeats a lost call', () => {
  const asking = () => createWorld(chain(step('a'), step('b', { onUnknown: 'ask' })))

  test('an approval repeats the call, and both calls are on the ledger', async () => {
    const world = await asking()
    await world.run({ diesAt: diesAt('answer', 2) })
    expect(await world.runAndDecide(true)).toMatchObject({ status: 'COMPLETED' })
    expect(world.asked.map(promptOf)).toEqual(['a', 'b', 'b'])
    expect(lostOf(await resultOf(world, 'b'))).toHaveLength(1)
    expect((await resultOf(world, 'b'))?.attempts).toHaveLength(2)
  })

  test('after a rejection the step fails without a further call', async () => {
    const world = await asking()
    await world.run({ diesAt: diesAt('answer', 2) })
    expect(await world.runAndDecide(false)).toMatchObject({ code: 'CALL_OUTCOME_UNKNOWN', details: { stepId: 'b' } })
    expect(world.asked.map(promptOf)).toEqual(['a', 'b'])
    expect(lostOf(await resultOf(world, 'b'))).toHaveLength(1)
  })

  test('the first step asks too, although the crash left no trace of its call', async () => {
    const world = await createWorld(chain(step('a', { onUnknown: 'ask' }), step('b')))
    await world.run({ diesAt: diesAt('answer', 1) })
    expect(await world.runAndDecide(true)).toMatchObject({ status: 'COMPLETED' })
    expect(world.asked.map(promptOf)).toEqual(['a', 'a', 'b'])
    expect(lostOf(await resultOf(world, 'a'))).toHaveLength(1)
  })

  test('samples of one step ask together', async () => {
    const world = await createWorld(chain(step('a'), step('b', { onUnknown: 'ask', samples: 3 })))
    await world.run({ diesAt: diesAt('answer', 3) })
    expect(await world.runAndDecide(true)).toMatchObject({ status: 'COMPLETED' })
  })

  test.each([
    ['a', 1],
    ['b', 2],
  ])('executeStep repeats the lost call of step "%s" without asking, and both calls are on the ledger', async (id, calls) => {
    const world = await createWorld(chain(step('a', { onUnknown: 'ask' }), step('b', { onUnknown: 'ask' })))
    await world.run({ diesAt: diesAt('answer', calls) })
    const process = await openMortalProcess({ store: world.store, config, diesAt: () => false, reply: () => 'fine' })
    expect(await process.orchestrator.executeStep(world.flowId, id, USER, 'x')).toMatchObject({ status: 'SUCCESS', iteration: 1 })
    expect(process.sent).toHaveLength(1)
    expect((await resultOf(world, id))?.attempts).toMatchObject([
      { number: 1, possiblyDoubleBilled: true, error: { code: 'CALL_OUTCOME_UNKNOWN' } },
      { number: 2, aborted: false },
    ])
    expect(await process.orchestrator.getFlowStatus(world.flowId)).toMatchObject({ status: 'FAILED' })
    expect(await world.run()).toMatchObject({ status: 'COMPLETED' })
    expect(world.asked.map(promptOf)).toEqual(['a', 'b'])
  })

  test('without a lost call nothing is asked', async () => {
    const world = await asking()
    expect(await world.run()).toMatchObject({ status: 'COMPLETED' })
  })
})

describe('a complete answer that a crash found without a recorded result', () => {
  const outputSchema = { type: 'object', properties: { n: { type: 'number' } }, required: ['n'] }

  test('the first answer of a step is not paid for again when its repair call was lost', async () => {
    const replies: ScriptedReply[] = ['fine', 'unreadable', '{"n":1}']
    const world = await createWorld(chain(step('a'), step('b', { outputSchema })), () => replies.shift() ?? 'fine')
    expect(await world.run({ diesAt: diesAt('answer', 3) })).toBe('died')
    expect(await resultOf(world, 'b')).toMatchObject({ status: 'RUNNING', output: 'unreadable' })
    expect(await world.run()).toMatchObject({ status: 'COMPLETED' })
    expect(await resultOf(world, 'b')).toMatchObject({ status: 'SUCCESS', parsed: { n: 1 } })
    expect(world.asked.slice(2).every((text) => text.includes('could not be read'))).toBe(true)
    expect((await resultOf(world, 'b'))?.attempts).toMatchObject([
      { number: 1, aborted: false },
      { number: 2, possiblyDoubleBilled: true },
      { number: 3, aborted: false },
    ])
  })

  test('samples that were recorded are not asked again', async () => {
    const world = await createWorld(chain(step('a'), step('b', { samples: 3 })))
    await world.run({ diesAt: diesAt('answer', 4) })
    const kept = (await world.store.flows.stepResults(world.flowId, { samples: true })).filter(
      ({ sample, status }) => sample > 0 && status === 'SUCCESS',
    )
    await world.run()
    expect(world.asked).toHaveLength(1 + 3 + (3 - kept.length))
    expect(lostOf(await resultOf(world, 'b'))).toHaveLength(0)
    const samples = (await world.store.flows.stepResults(world.flowId, { samples: true })).filter(({ sample }) => sample > 0)
    expect(samples.flatMap(lostOf)).toHaveLength(3 - kept.length)
  })
})

const arbitraryStep = fc.record({ samples: fc.constantFrom(1, 1, 2), repaired: fc.boolean() })
const outputSchema = { type: 'object', properties: { n: { type: 'number' } }, required: ['n'] }

const arbitraryFlow = fc
  .record({
    type: fc.constantFrom('sequential' as const, 'parallel' as const),
    steps: fc.array(arbitraryStep, { minLength: 1, maxLength: 4 }),
  })
  .map(({ type, steps }): FlowDefinitionInput => {
    const toStep = ({ samples, repaired }: (typeof steps)[number], index: number): FlowStepInput =>
      step(`s${index}`, { samples, ...(repaired && { outputSchema }) })
    return { name: 'any', type, steps: steps.map(toStep), ...(type === 'parallel' && steps.length > 1 && { parallel: {} }) }
  })

test('no attempt is lost and every repeated call is marked, whatever the flow and wherever its processes die', async () => {
  await fc.assert(
    fc.asyncProperty(
      arbitraryFlow,
      fc.array(fc.nat(25), { maxLength: 3 }),
      fc.array(fc.constantFrom('ok', 'ok', 'ok', 'down', 'unreadable'), { maxLength: 12 }),
      async (definition, deaths, script) => {
        const replies = [...script]
        const world = await createWorld(definition, () => {
          const next = replies.shift()
          return next === 'down' ? unavailable() : next === 'unreadable' ? 'not JSON' : '{"n":1}'
        })
        let died = 0
        let end: unknown
        for (const death of [...deaths, Number.POSITIVE_INFINITY]) {
          const recorded = await world.store.flows.stepResults(world.flowId, { samples: true })
          const done = new Set(recorded.filter(({ status }) => status === 'SUCCESS').map(({ stepId }) => stepId))
          const before = world.asked.length
          let moments = 0
          end = await world.run({ diesAt: () => moments++ === death })
          if (end === 'died') died++
          const single = new Set(definition.steps.filter(({ samples }) => samples === 1).map(({ id }) => id))
          // A recorded step is never called again.
          expect(
            world.asked
              .slice(before)
              .map(promptOf)
              .filter((id) => done.has(id) && single.has(id)),
          ).toEqual([])
          if (end !== 'died') break
        }
        if (end === 'died') return
        const rows = await world.store.flows.stepResults(world.flowId, { samples: true })
        const attempts = rows.flatMap((row) => row.attempts)
        const lost = rows.flatMap(lostOf)
        // Each request is an attempt. A crash may also count a call as lost that was about to be made.
        expect(attempts.length).toBeGreaterThanOrEqual(world.asked.length)
        expect(attempts.length - world.asked.length).toBeLessThanOrEqual(lost.length)
        for (const row of rows)
          expect(row.attempts.map(({ number }) => number)).toEqual(row.attempts.map((_, index) => index + 1))
        if (died === 0) expect(lost).toEqual([])
        expect(await world.store.flows.intents(world.flowId)).toEqual([])
      },
    ),
    { numRuns: 60, seed: SEED },
  )
})
