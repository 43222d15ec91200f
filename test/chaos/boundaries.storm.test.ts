import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { unlessHung } from '../faults/observation.ts'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { casesOf } from '../support/scale.ts'
import { answerOf, CALL_MOMENTS, type CallLog, type CallMoment, createCallLog } from './call-log.ts'
import { lineOf } from './chaos-flows.ts'
import { createPostgresProxy, type PostgresProxy, WRITE_MOMENTS, type WriteMoment } from './postgres-proxy.ts'
import { OutcomeReader } from './stored-outcomes.ts'
import { endWorkers, startWorker, type WorkerProcess } from './worker-process.ts'

const RUNS = Number(process.env.CHAOS_RUNS ?? casesOf(24, 2))
const STEPS = 10
const GUARD_MS = 60_000

/** Where a run is interrupted: at a moment of its n-th call or of its n-th write to the journal, from 1. */
type Point =
  | { readonly kind: 'call'; readonly number: number; readonly moment: CallMoment }
  | { readonly kind: 'write'; readonly number: number; readonly moment: WriteMoment }

let postgres: TestPostgres
let proxy: PostgresProxy
let provider: CallLog
let outcomes: OutcomeReader
/** What happens at a point of the current run; returns whether the run is interrupted there. */
let onPoint: (point: Point) => boolean = () => false
/** Calls and writes before the current run. */
let callsBefore = 0
let writesBefore = 0
let writesSoFar = 0

beforeAll(async () => {
  postgres = await openTestPostgres()
  outcomes = new OutcomeReader(postgres.url)
  provider = await createCallLog({
    answerMs: () => 8,
    onMoment: (moment, _, number) => void onPoint({ kind: 'call', number: number - callsBefore, moment }),
  })
  proxy = await createPostgresProxy({
    target: postgres.url,
    onWrite: (moment, number) => {
      writesSoFar = Math.max(writesSoFar, number)
      return onPoint({ kind: 'write', number: number - writesBefore, moment })
    },
  })
})
afterEach(endWorkers)
afterAll(async () => {
  await Promise.all([proxy.close(), provider.close(), outcomes.close()])
  await postgres.drop()
})

const openWorker = () =>
  startWorker({
    database: proxy.url,
    logLevel: 'error',
    providers: { desk: { kind: 'openai-compatible', baseUrl: provider.url, apiKey: 'sk-key' } },
  })

/** Points of a run that writes so often, in the order in which they occur as far as that is known. */
const pointsOf = (writes: number): readonly Point[] => [
  ...range(STEPS).flatMap((number) => CALL_MOMENTS.map((moment): Point => ({ kind: 'call', number, moment }))),
  ...range(writes).flatMap((number) => WRITE_MOMENTS.map((moment): Point => ({ kind: 'write', number, moment }))),
]
const range = (count: number): readonly number[] => Array.from({ length: count }, (_, index) => index + 1)

/** Runs one flow in the worker until `point`, where the worker is killed. Resolves with the worker that completed the flow. */
async function runOnce(worker: WorkerProcess, point: Point | undefined): Promise<WorkerProcess> {
  const run = randomUUID()
  callsBefore = provider.calls.length
  writesBefore = writesSoFar
  let isKilled = false
  onPoint = ({ kind, number, moment }) => {
    if (kind !== point?.kind || number !== point.number || moment !== point.moment) return isKilled
    isKilled = true
    worker.child.kill('SIGKILL')
    return true
  }
  const ended = new Promise<void>((resolve) => worker.child.once('exit', () => resolve()))
  worker.send({ type: 'run', run, definition: lineOf(run, STEPS) })
  const created = await worker.reported((report) => report.run === run && report.type !== 'started')
  expect(created?.type).not.toBe('failed')
  const flowId = created?.flowId
  if (point === undefined) {
    await outcomes.until([flowId ?? ''], ['COMPLETED'], GUARD_MS)
    return worker
  }
  await unlessHung(ended, `the kill at ${JSON.stringify(point)}`)
  onPoint = () => false
  const killedAtMs = performance.now()
  const [before] = flowId === undefined ? [] : await outcomes.read([flowId])
  const next = await openWorker()
  // A flow whose creation was not acknowledged does not exist for the caller, who asks for it again.
  if (flowId === undefined || !before) {
    expect(provider.callsOf(run, 's1')).toHaveLength(0)
    return next
  }
  if (before.status === 'PENDING') next.send({ type: 'start', run, flowId })
  const [after] = await outcomes.until([flowId], ['COMPLETED'], GUARD_MS)
  let repeated = 0
  let marked = 0
  for (const step of range(STEPS).map((number) => `s${number}`)) {
    const context = `${step} after a kill at ${JSON.stringify(point)}`
    const calls = provider.callsOf(run, step)
    const later = calls.filter(({ arrivedAtMs }) => arrivedAtMs > killedAtMs)
    expect(after?.outputs[step], context).toBe(answerOf(run, step))
    if (before.outputs[step] !== undefined) expect(later, context).toHaveLength(0)
    else expect(later, context).toHaveLength(1)
    const wasInFlight = calls.length - later.length === 1 && before.outputs[step] === undefined
    const marks = after?.doubled[step] ?? 0
    if (wasInFlight) expect(marks, `marks of ${context}`).toBe(1)
    if (wasInFlight) repeated++
    marked += marks
  }
  expect(repeated).toBeLessThanOrEqual(1)
  // A call that was announced and never left is marked too, because nobody can know.
  expect(marked).toBeLessThanOrEqual(1)
  return next
}

test(`a flow of ${STEPS} steps loses no result and repeats at most one call when its process is killed at ${RUNS} of its boundaries`, {
  timeout: 120_000 + RUNS * 20_000,
}, async () => {
  let worker = await openWorker()
  const firstWrite = writesSoFar
  worker = await runOnce(worker, undefined)
  const points = pointsOf(writesSoFar - firstWrite)
  // Spread over all points, whatever the number of runs.
  for (let index = 0; index < RUNS; index++) {
    const point = points[Math.floor((index * points.length) / Math.min(RUNS, points.length)) % points.length]
    worker = await runOnce(worker, point)
  }
})
