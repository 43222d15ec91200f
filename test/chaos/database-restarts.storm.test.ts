import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createPolyphony, type Polyphony } from '../../src/polyphony.ts'
import { type OwnPostgres, openOwnPostgres } from '../support/postgres.ts'
import { casesOf, SEED } from '../support/scale.ts'
import { answerOf, type CallLog, createCallLog } from './call-log.ts'
import { CHAOS_INPUT, CHAOS_USER, lineOf } from './chaos-flows.ts'
import { CHAOS_ENGINES } from './engines.ts'
import { createRandom } from './random.ts'
import { OutcomeReader } from './stored-outcomes.ts'

const RESTARTS = Number(process.env.CHAOS_RESTARTS ?? casesOf(5, 1))
/** Milliseconds for which the database stays away at least, beyond the answers that come meanwhile. */
const OUTAGE_MS = Number(process.env.CHAOS_OUTAGE_MS ?? 0)
/** Flows that run at once. */
const WIDTH = 20
const STEPS = 4
/** Longest time from the first answer of the server to the next outcome. */
const BACK_WITHIN_MS = 10_000

const [engine] = CHAOS_ENGINES
const random = createRandom(SEED)
let postgres: OwnPostgres
let provider: CallLog
let outcomes: OutcomeReader
let polyphony: Polyphony
let answersSlowly = false
const unhandled: unknown[] = []
const onUnhandled = (reason: unknown) => void unhandled.push(reason)

beforeAll(async () => {
  if (!engine) throw new Error('expected an engine')
  process.on('unhandledRejection', onUnhandled)
  postgres = await openOwnPostgres()
  outcomes = new OutcomeReader(postgres.url)
  provider = await createCallLog({ answerMs: () => (answersSlowly ? 4_000 : 20 + random() * 300) })
  polyphony = await createPolyphony(engine.configOf(postgres.url, provider.url), { env: {}, cwd: '/nonexistent' })
})
afterAll(async () => {
  await polyphony?.close()
  await Promise.all([provider?.close(), outcomes?.close()])
  await postgres?.drop()
  process.off('unhandledRejection', onUnhandled)
})

const isAway = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'DATABASE_UNAVAILABLE'

/** What a client does: it asks again while the database is away, but not if a call was made for its request. */
async function whenBack<T>(run: string, request: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await request()
    } catch (error) {
      if (!isAway(error) || provider.calls.some((call) => call.run === run)) throw error
      await sleep(20)
    }
  }
}

test(`every flow completes with one call per step although the database restarts ${RESTARTS} times`, {
  timeout: 300_000 + RESTARTS * (30_000 + OUTAGE_MS),
}, async () => {
  const { orchestrator, conversations } = polyphony
  const { id: threadId } = await conversations.createThread(CHAOS_USER)
  const flows: { readonly run: string; readonly flowId: string; readonly status: string }[] = []
  const ends: number[] = []
  let isOver = false

  const runAll = async () => {
    while (!isOver) {
      const run = randomUUID()
      const flow = await whenBack(run, () => orchestrator.createFlow(threadId, CHAOS_USER, lineOf(run, STEPS)))
      const options = { input: CHAOS_INPUT, streaming: true }
      const { status } = await whenBack(run, () => orchestrator.executeFlow(flow.id, CHAOS_USER, options))
      ends.push(performance.now())
      flows.push({ run, flowId: flow.id, status })
    }
  }
  const backMs: number[] = []
  const restartAll = async () => {
    for (let restart = 0; restart < RESTARTS; restart++) {
      const before = flows.length
      while (flows.length < before + WIDTH / 2) await sleep(10)
      await postgres.command(restart % 2 === 0 ? 'stop' : 'kill')
      // Long enough for answers to arrive while there is no database.
      const answered = provider.calls.filter(({ answeredAtMs }) => answeredAtMs !== undefined).length
      for (let turn = 0; turn < 25 && countAnswered() < answered + 5; turn++) await sleep(20)
      if (OUTAGE_MS > 0) await sleep(OUTAGE_MS)
      await postgres.command('start')
      const startedAt = performance.now()
      while (!ends.some((at) => at > startedAt)) await sleep(10)
      backMs.push(Math.round((ends.find((at) => at > startedAt) ?? startedAt) - startedAt))
    }
    isOver = true
  }
  const countAnswered = () => provider.calls.filter(({ answeredAtMs }) => answeredAtMs !== undefined).length
  await Promise.all([
    restartAll(),
    ...Array.from({ length: WIDTH }, () =>
      runAll().catch((error: unknown) => {
        isOver = true
        throw error
      }),
    ),
  ])

  console.log(`${flows.length} flows, ${provider.calls.length} calls; ms to the next outcome after a start: ${backMs.join(', ')}`)
  expect(flows.filter(({ status }) => status !== 'COMPLETED')).toEqual([])
  const stored = await outcomes.read(flows.map(({ flowId }) => flowId))
  expect(stored.filter(({ status }) => status !== 'COMPLETED')).toEqual([])
  for (const { run, flowId } of flows) {
    const outputs = stored.find((outcome) => outcome.flowId === flowId)?.outputs
    for (let step = 1; step <= STEPS; step++) {
      expect(provider.callsOf(run, `s${step}`)).toHaveLength(1)
      expect(outputs?.[`s${step}`]).toBe(answerOf(run, `s${step}`))
    }
    const updates: string[] = []
    for await (const { type } of orchestrator.streamFlow(flowId, CHAOS_USER)) updates.push(type)
    expect(updates.filter((type) => type === 'flow_complete')).toHaveLength(1)
    expect(updates.filter((type) => type === 'step_complete')).toHaveLength(STEPS)
  }
  expect(unhandled).toEqual([])
  expect(Math.max(...backMs)).toBeLessThan(BACK_WITHIN_MS)
})

test('a flow that is cancelled while the database is away ends its call at once, and makes no further one', async () => {
  const { orchestrator, conversations } = polyphony
  const { id: threadId } = await conversations.createThread(CHAOS_USER)
  const [run, waitingRun] = [randomUUID(), randomUUID()]
  const begin = async (name: string) => {
    const { id } = await orchestrator.createFlow(threadId, CHAOS_USER, lineOf(name, 2))
    const stop = new AbortController()
    const end = orchestrator.executeFlow(id, CHAOS_USER, { input: CHAOS_INPUT, signal: stop.signal })
    const code = end.then(
      () => 'completed',
      (error: { code?: string }) => error.code,
    )
    while (provider.callsOf(name, 's1').length === 0) await sleep(5)
    return { id, stop, code }
  }
  const waiting = await begin(waitingRun)
  answersSlowly = true
  const calling = await begin(run)
  await postgres.command('stop')
  const [call] = provider.callsOf(run, 's1')
  const [answered] = provider.callsOf(waitingRun, 's1')
  if (!call || !answered) throw new Error('expected a call of each flow')
  await provider.settled(answered)
  calling.stop.abort()
  waiting.stop.abort()
  await provider.settled(call)
  expect(call.answeredAtMs).toBeUndefined()
  await postgres.command('start')
  answersSlowly = false
  expect(await Promise.all([calling.code, waiting.code])).toEqual(['FLOW_CANCELLED', 'FLOW_CANCELLED'])
  const stored = await outcomes.read([calling.id, waiting.id])
  expect(stored.map(({ status }) => status)).toEqual(['CANCELLED', 'CANCELLED'])
  expect(provider.callsOf(run, 's2')).toEqual([])
})
