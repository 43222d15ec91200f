import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { unlessHung } from '../faults/observation.ts'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { casesOf } from '../support/scale.ts'
import { answerOf, CALL_MOMENTS, type CallLog, type CallMoment, createCallLog } from './call-log.ts'
import { lineOf } from './chaos-flows.ts'
import { createPostgresProxy, type PostgresProxy, WRITE_MOMENTS, type WriteMoment } from './postgres-proxy.ts'
import { OutcomeReader, type StoredOutcome } from './stored-outcomes.ts'
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

const steps = range(STEPS).map((number) => `s${number}`)

/** What all runs found. */
const found = { kills: 0, completed: 0, repeated: 0, endedBefore: 0 }

/** A run that was not killed, with the number of its writes; or the worker that completed the flow of a killed one. */
type Run = { readonly writes: number } | { readonly next: WorkerProcess }

/** Runs one flow in the worker, which is killed at `point` if the run has it. */
async function runOnce(worker: WorkerProcess, point: Point | undefined): Promise<Run> {
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
  worker.send({ type: 'execute', run, definition: lineOf(run, STEPS) })
  // The worker reports nothing more when it is killed.
  const end = await unlessHung(
    worker.reported((report) => report.run === run && report.type !== 'created'),
    `the run that is killed at ${JSON.stringify(point)}`,
  )
  onPoint = () => false
  const flowId = worker.reports.find((report) => report.run === run)?.flowId
  if (end) {
    expect(end.type, end.message).toBe('completed')
    const [outcome] = await outcomes.read([flowId ?? ''])
    for (const step of steps) expectOnce(run, step, outcome)
    return { writes: writesSoFar - writesBefore }
  }
  expect(isKilled, 'the worker ended by itself').toBe(true)
  found.kills++
  const killedAtMs = performance.now()
  const [before] = flowId === undefined ? [] : await outcomes.read([flowId])
  const next = await openWorker()
  // A flow whose creation was not acknowledged does not exist for the caller, who asks for it again.
  if (flowId === undefined || !before) {
    expect(provider.callsOf(run, 's1')).toHaveLength(0)
    const again = await runOnce(next, undefined)
    expect(again).toHaveProperty('writes')
    found.completed++
    return { next }
  }
  if (before.status === 'PENDING') next.send({ type: 'start', run, flowId })
  const [after] = await outcomes.until([flowId], ['COMPLETED'], GUARD_MS)
  found.completed++
  let repeated = 0
  let marked = 0
  for (const step of steps) {
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
  found.repeated += repeated
  return { next }
}

function expectOnce(run: string, step: string, outcome: StoredOutcome | undefined): void {
  expect(outcome?.outputs[step]).toBe(answerOf(run, step))
  expect(provider.callsOf(run, step)).toHaveLength(1)
}

/**
 * Runs flows in the worker until one is killed at `point`; resolves with the worker that completed it. Writes that meet
 * go into one statement, so a run may end before its n-th write. The next run is then killed at the last write that
 * this one had.
 */
async function killAt(worker: WorkerProcess, point: Point): Promise<WorkerProcess> {
  const run = await runOnce(worker, point)
  if ('next' in run) return run.next
  found.endedBefore++
  expect(point.kind, JSON.stringify(point)).toBe('write')
  expect(run.writes, JSON.stringify(point)).toBeLessThan(point.number)
  return killAt(worker, { ...point, number: run.writes } as Point)
}

test(`a flow of ${STEPS} steps loses no result and repeats at most one call when its process is killed at ${RUNS} of its boundaries`, {
  timeout: 300_000 + RUNS * 20_000,
}, async () => {
  let worker = await openWorker()
  const first = await runOnce(worker, undefined)
  const points = pointsOf('writes' in first ? first.writes : 0)
  // Spread over all points, whatever the number of runs.
  for (let index = 0; index < RUNS; index++) {
    const point = points[Math.floor((index * points.length) / Math.min(RUNS, points.length)) % points.length]
    if (point) worker = await killAt(worker, point)
  }
  console.log(`${JSON.stringify(found)} at ${points.length} points`)
  expect(found).toMatchObject({ kills: RUNS, completed: RUNS })
})
