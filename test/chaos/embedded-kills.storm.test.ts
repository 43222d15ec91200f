import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { unlessHung } from '../faults/observation.ts'
import { casesOf, SEED } from '../support/scale.ts'
import { answerOf, type CallLog, createCallLog } from './call-log.ts'
import { lineOf } from './chaos-flows.ts'
import { createRandom } from './random.ts'
import { endWorkers, startWorker, type WorkerProcess } from './worker-process.ts'

const KILLS = Number(process.env.CHAOS_EMBEDDED_KILLS ?? casesOf(4, 2))
/** Flows that run at once. */
const WIDTH = 8
const STEPS = 6
const PATHS = Array.from({ length: STEPS }, (_, index) => `s${index + 1}`)

interface OpenFlow {
  readonly run: string
  readonly flowId: string
  started: boolean
  ended: boolean
  /** When the process said that the result of the step was stored, by step. */
  readonly recordedAtMs: Map<string, number>
}

const random = createRandom(SEED)
let folder: string
let provider: CallLog

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'polyphony-embedded-kills-'))
  provider = await createCallLog({ answerMs: () => 20 + random() * 100 })
})
afterEach(endWorkers)
afterAll(async () => {
  await provider.close()
  await rm(folder, { recursive: true, force: true })
})

const openWorker = () =>
  startWorker({
    database: `pglite://${join(folder, 'data')}`,
    logLevel: 'error',
    providers: { desk: { kind: 'openai-compatible', baseUrl: provider.url, apiKey: 'sk-key' } },
  })

/** Takes over what the process has reported, also of flows that it had not been asked to follow before. */
function takeReports(worker: WorkerProcess, flows: OpenFlow[], from: number): number {
  for (const { type, run, flowId, step } of worker.reports.slice(from)) {
    if (type === 'created' && run !== undefined && flowId !== undefined) {
      flows.push({ run, flowId, started: false, ended: false, recordedAtMs: new Map() })
    }
    const flow = flows.find((known) => known.flowId === flowId)
    if (!flow) continue
    if (type === 'started') flow.started = true
    if (type === 'ended') flow.ended = true
    if (type === 'recorded' && step !== undefined && !flow.recordedAtMs.has(step)) flow.recordedAtMs.set(step, performance.now())
  }
  return worker.reports.length
}

async function outputsOf(worker: WorkerProcess, { flowId }: OpenFlow) {
  const question = randomUUID()
  worker.send({ type: 'read', run: question, flowId })
  const answer = worker.reported((report) => report.run === question)
  return (await unlessHung(answer, `reading ${flowId}`))?.outputs ?? {}
}

test(`an embedded database opens and keeps every recorded result although its process is killed ${KILLS} times`, {
  timeout: 300_000 + KILLS * 30_000,
}, async () => {
  const flows: OpenFlow[] = []
  const openedMs: number[] = []
  let recordedAtKills = 0
  let worker = await openWorker()

  /** Runs flows in the worker until `isOver`; every step between two looks is a report of the worker. */
  const runUntil = async (isOver: () => boolean, starts: boolean) => {
    let taken = takeReports(worker, flows, 0)
    let asked = 0
    const followed = new Set<OpenFlow>()
    while (!isOver()) {
      taken = takeReports(worker, flows, taken)
      const open = flows.filter(({ ended }) => !ended)
      for (const flow of open) {
        if (followed.has(flow)) continue
        followed.add(flow)
        const isOfThisProcess = worker.reports.some(({ type, flowId }) => type === 'created' && flowId === flow.flowId)
        if (!flow.started && !isOfThisProcess) worker.send({ type: 'start', run: flow.run, flowId: flow.flowId })
        worker.send({ type: 'follow', run: flow.run, flowId: flow.flowId })
      }
      const created = worker.reports.filter(({ type }) => type === 'created').length
      while (starts && open.length + asked - created < WIDTH) {
        const run = randomUUID()
        worker.send({ type: 'run', run, definition: lineOf(run, STEPS) })
        asked++
      }
      await sleep(2)
    }
    return taken
  }

  for (let kill = 0; kill < KILLS; kill++) {
    const before = flows.reduce((sum, { recordedAtMs }) => sum + recordedAtMs.size, 0)
    const wanted = before + 1 + Math.floor(random() * 20)
    const untilMs = performance.now() + 60_000
    const taken = await runUntil(() => {
      const recorded = flows.reduce((sum, { recordedAtMs }) => sum + recordedAtMs.size, 0)
      return recorded >= wanted || performance.now() > untilMs
    }, true)
    await worker.end('SIGKILL')
    takeReports(worker, flows, taken)
    const recorded = flows.reduce((sum, { recordedAtMs }) => sum + recordedAtMs.size, 0)
    expect(recorded, 'results recorded before the kill').toBeGreaterThan(before)
    recordedAtKills += recorded - before

    const startedMs = performance.now()
    worker = await openWorker()
    openedMs.push(Math.round(performance.now() - startedMs))
    for (const flow of flows.filter(({ ended, recordedAtMs }) => !ended || recordedAtMs.size < STEPS)) {
      const outputs = await outputsOf(worker, flow)
      for (const step of flow.recordedAtMs.keys()) expect(outputs[step], `${flow.flowId} ${step}`).toBe(answerOf(flow.run, step))
    }
  }
  const endsBeforeMs = performance.now() + 60_000
  await runUntil(() => flows.every(({ ended }) => ended) || performance.now() > endsBeforeMs, false)

  for (const flow of flows) {
    expect(flow.ended, flow.flowId).toBe(true)
    const outputs = await outputsOf(worker, flow)
    for (const step of PATHS) {
      expect(outputs[step], `${flow.flowId} ${step}`).toBe(answerOf(flow.run, step))
      const recordedAtMs = flow.recordedAtMs.get(step) ?? Number.POSITIVE_INFINITY
      const later = provider.callsOf(flow.run, step).filter(({ arrivedAtMs }) => arrivedAtMs > recordedAtMs)
      expect(later, `calls of ${flow.flowId} ${step} after it was recorded`).toEqual([])
    }
  }
  const sorted = openedMs.toSorted((a, b) => a - b)
  console.log(
    `${openedMs.length} of ${KILLS} opened, p50 ${sorted[sorted.length >> 1]} ms, max ${sorted.at(-1)} ms; ${flows.length} flows, ` +
      `${provider.calls.length} calls, ${recordedAtKills} results recorded before the kills, none lost`,
  )
})
