import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Attempt } from '../../src/domain/execution/step-result.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { createLoopback, type Loopback } from '../support/loopback.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { rejectionOf, unlessHung } from './observation.ts'
import { answerWell, WIRES } from './vendor-wires.ts'

const ROUNDS = Number(process.env.KILL_ROUNDS ?? 3)
const ONLY = process.env.KILL_TYPE ?? ''
const ANSWER = '{"score":0.5,"approved":false,"issues":[],"feedback":"more"}'

let server: Loopback
/** Calls of `run step`, in order of arrival. */
let calls: string[] = []
beforeAll(async () => {
  server = await createLoopback(({ path, text, body, response }) => {
    const [, run = '', step = ''] = /RUN\(([^)]*)\)STEP\(([^)]*)\)/.exec(text) ?? []
    calls.push(`${run} ${step}`)
    const [wire] = WIRES
    if (wire) setTimeout(() => answerWell(wire, wire.isStreamed(path, body), response, ANSWER), 5 + Math.random() * 40)
  })
})
afterAll(() => server.close())

let folder: string
let database: string
const children = new Set<ChildProcess>()
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'polyphony-faults-'))
  database = `pglite://${join(folder, 'data')}`
  calls = []
})
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL')
  await rm(folder, { recursive: true, force: true })
})

interface Child {
  readonly pid: number
  readonly lines: readonly string[]
  told(word: string): Promise<void>
  kill(): Promise<void>
}

function startChild(): Child {
  const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
  const script = fileURLToPath(new URL('./flow-child.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', loader, script, database, server.url, ONLY], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.add(child)
  const lines: string[] = []
  const reader = createInterface(child.stdout)
  const ended = new Promise<void>((resolve) => reader.once('close', resolve))
  reader.on('line', (line) => lines.push(line))
  return {
    pid: child.pid ?? 0,
    lines,
    told: (word) =>
      new Promise((resolve, reject) => {
        const look = () => lines.some((line) => line.startsWith(word)) && resolve()
        reader.on('line', look)
        child.once('exit', (code) => reject(new Error(`the child ended with ${code}`)))
        look()
      }),
    async kill() {
      child.kill('SIGKILL')
      await ended
      children.delete(child)
    },
  }
}

const open = (): Promise<Polyphony> =>
  openTestPolyphony({
    database,
    providers: { desk: { kind: 'openai-compatible', baseUrl: `${server.url}/desk`, apiKey: 'sk-key' } },
  })

const count = (run: string, step: string): number => calls.filter((call) => call === `${run} ${step}`).length
const counted = { resumed: 0, kept: 0, doubled: 0, done: 0 }

/** Resumes one flow that a kill interrupted, and judges what was called again. */
async function resume(polyphony: Polyphony, run: string, flowId: string, steps: readonly string[]): Promise<void> {
  const { orchestrator } = polyphony
  const before = await orchestrator.getFlow(flowId, 'ada')
  expect(['PENDING', 'FAILED']).toContain(before.status)
  if (before.status === 'FAILED') expect(before.error).toMatchObject({ code: 'FLOW_INTERRUPTED' })
  const recorded = new Map(
    steps.map((step) => [step, before.stepResults.filter((row) => row.stepId === step && row.status === 'SUCCESS').length]),
  )
  const asked = new Map(steps.map((step) => [step, count(run, step)]))
  const result = await unlessHung(orchestrator.executeFlow(flowId, 'ada', { input: 'the question' }), `resume of ${flowId}`)
  expect(result.status).toBe('COMPLETED')
  counted.resumed++
  for (const step of steps) {
    const rows = result.steps.filter((row) => row.stepId === step && row.status === 'SUCCESS')
    const was = recorded.get(step) ?? 0
    const inFlight = (asked.get(step) ?? 0) - was
    counted.kept += was
    // At most one call of a step was under way: nothing that had an answer may be unrecorded once a later step was asked.
    expect(inFlight).toBeLessThanOrEqual(1)
    expect(count(run, step) - (asked.get(step) ?? 0)).toBe(rows.length - was)
    const doubled = rows.flatMap((row) => row.attempts).filter((attempt: Attempt) => attempt.possiblyDoubleBilled)
    expect(doubled.length).toBeLessThanOrEqual(1)
    if (inFlight === 0) continue
    expect(doubled, `${step} was in flight when its process died`).toHaveLength(1)
    counted.doubled += doubled.length
    if (process.env.REPORT_KILLS) console.log(step, 'was in flight; flagged', doubled.length)
  }
}

test(`an embedded database loses nothing when its process is killed in the middle of flows, ${ROUNDS} times`, {
  timeout: 300_000 + ROUNDS * 20_000,
}, async () => {
  const told = new Map<string, string>()
  for (let round = 0; round < ROUNDS; round++) {
    const child = startChild()
    await child.told('flow')
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 900))
    await child.kill()
    const polyphony = await open()
    for (const line of child.lines) {
      const [what = '', type = '', , flowId = ''] = line.split(' ')
      if (what === 'flow' || what === 'done') told.set(flowId, `${what} ${type}`)
    }
    for (const line of child.lines) {
      const [what, type, run = '', flowId = ''] = line.split(' ')
      if (what !== 'flow') continue
      const flow = await polyphony.orchestrator.getFlow(flowId, 'ada')
      expect(flow.status).not.toBe('RUNNING')
      if (told.get(flowId)?.startsWith('done')) {
        expect(flow.status).toBe('COMPLETED')
        counted.done++
      } else if (flow.status !== 'COMPLETED') {
        const steps = flow.definition.steps.map(({ id }) => id)
        // An answer is durable before the next step of its line is asked.
        if (type === 'sequential') {
          steps.slice(0, -1).forEach((step, index) => {
            const next = steps[index + 1] ?? ''
            const isKept = flow.stepResults.some((row) => row.stepId === step && row.status === 'SUCCESS')
            if (count(run, next) > 0) expect(isKept).toBe(true)
          })
        }
        await resume(polyphony, run, flowId, steps)
      }
      told.set(flowId, 'done')
    }
    for (const flowId of told.keys()) {
      expect(await polyphony.orchestrator.getFlowStatus(flowId, 'ada')).toMatchObject({ status: 'COMPLETED' })
    }
    await polyphony.close()
  }
  expect(counted.resumed).toBeGreaterThan(0)
  if (process.env.REPORT_KILLS) console.log(counted)
})

test('a second process on a database directory is refused at once with the name of the first, which continues undisturbed', {
  timeout: 300_000,
}, async () => {
  const child = startChild()
  await child.told('done')
  const startedAt = performance.now()
  const error = await unlessHung(rejectionOf(open()), 'the second process', 5_000)
  if (process.env.REPORT_KILLS) console.log('refused within', (performance.now() - startedAt).toFixed(0), 'ms')
  expect(error).toMatchObject({ code: 'DATABASE_LOCKED', details: { pid: child.pid } })
  expect(error.message).toContain(String(child.pid))
  const done = child.lines.filter((line) => line.startsWith('done')).length
  while (child.lines.filter((line) => line.startsWith('done')).length < done + 2)
    await new Promise((resolve) => setTimeout(resolve, 20))
  await child.kill()
  const polyphony = await open()
  await polyphony.close()
})
