import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import pg from 'pg'
import { expect } from 'vitest'
import * as z from 'zod'
import { unlessHung } from '../faults/observation.ts'
import { createLoopback } from '../support/loopback.ts'
import { openTestPostgres } from '../support/postgres.ts'
import { createPostgresProxy, WRITE_MOMENTS, type WriteMoment } from './postgres-proxy.ts'
import { OutcomeReader } from './stored-outcomes.ts'
import type { KilledFlow, ToolReport } from './tool-child.ts'

const GUARD_MS = 60_000

/** A call has arrived and has had no effect, or has had its effect and is not answered. */
const CALL_MOMENTS = ['arrived', 'done'] as const

type CallKind = 'model' | 'tool'
type Point =
  | { readonly kind: CallKind; readonly number: number; readonly moment: (typeof CALL_MOMENTS)[number] }
  | { readonly kind: 'write'; readonly number: number; readonly moment: WriteMoment }

const requestSchema = z.object({
  kind: z.enum(['model', 'tool']),
  run: z.string(),
  turn: z.number().optional(),
  operation: z.string().optional(),
  key: z.string().optional(),
})
export type WorldCall = z.output<typeof requestSchema> & { isDone: boolean }

/** A flow that was killed and has completed in another process. */
export interface KilledRun {
  readonly flowId: string
  /** For messages of assertions. */
  readonly context: string
  /** All calls of both processes. */
  readonly calls: readonly WorldCall[]
  /** Those after the restart. */
  readonly callsAfter: readonly WorldCall[]
  /** Turns that were stored before the restart. */
  readonly turnsBefore: readonly number[]
  /** Outputs of steps that were stored before the restart. */
  readonly outputsBefore: Readonly<Record<string, string>>
  /** Models and operations of the attempts whose outcome is unknown. */
  readonly lost: readonly string[]
  /** How often the second process asked whether to repeat a call. */
  readonly asked: number
}

export interface KillPlan {
  readonly flow: KilledFlow
  /** Number of kills, spread over all points. */
  readonly runs: number
  /** Calls of a run that is not killed. */
  readonly calls: Readonly<Record<CallKind, number>>
  /** Turns that a run stores. */
  readonly turns: readonly number[]
  /** The step whose output is that of the flow. */
  readonly lastStep: string
  readonly outputOf: (run: string) => string
  readonly check: (run: KilledRun) => void
}

const LOADER = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
const SCRIPT = fileURLToPath(new URL('./tool-child.ts', import.meta.url))
const range = (count: number): readonly number[] => Array.from({ length: count }, (_, index) => index + 1)

interface Child {
  readonly process: ChildProcess
  /** The first report of one of the types; `undefined` if the process ends before. */
  reported(...types: readonly ToolReport['type'][]): Promise<ToolReport | undefined>
  count(type: ToolReport['type']): number
}

/** Processes that run flows, and the world of their calls and writes, which kills them at chosen points. */
export async function openKillWorld() {
  const postgres = await openTestPostgres()
  const outcomes = new OutcomeReader(postgres.url)
  const pool = new pg.Pool({ connectionString: postgres.url, max: 1 })
  let calls: WorldCall[] = []
  let writesBefore = 0
  let writesSoFar = 0
  /** Returns whether the process dies at the point. */
  let onPoint: (point: Point) => boolean = () => false
  const alive = new Set<ChildProcess>()
  const proxy = await createPostgresProxy({
    target: postgres.url,
    onWrite: (moment, number) => {
      writesSoFar = Math.max(writesSoFar, number)
      return onPoint({ kind: 'write', number: number - writesBefore, moment })
    },
  })
  const world = await createLoopback(({ body, response }) => {
    const call: WorldCall = { ...requestSchema.parse(body), isDone: false }
    calls.push(call)
    const { kind } = call
    const number = calls.filter((other) => other.kind === kind).length
    if (onPoint({ kind, number, moment: 'arrived' })) return
    call.isDone = true
    if (onPoint({ kind, number, moment: 'done' })) return
    response.end(JSON.stringify({ done: true }))
  })

  function killAll(): void {
    for (const child of alive) child.kill('SIGKILL')
    alive.clear()
  }

  async function startChild(): Promise<Child> {
    const child = spawn(process.execPath, ['--import', LOADER, SCRIPT, proxy.url, world.url], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    alive.add(child)
    const reports: ToolReport[] = []
    const waiting = new Set<() => void>()
    const wake = () => {
      for (const look of waiting) look()
    }
    child.on('message', (message: ToolReport) => {
      reports.push(message)
      wake()
    })
    child.once('exit', wake)
    const reported: Child['reported'] = (...types) =>
      new Promise((resolve) => {
        const look = () => {
          const found = reports.find(({ type }) => types.includes(type))
          if (!found && child.exitCode === null && child.signalCode === null) return
          waiting.delete(look)
          resolve(found)
        }
        waiting.add(look)
        look()
      })
    expect(await reported('open'), 'a process that opens').toBeDefined()
    return { process: child, reported, count: (wanted) => reports.filter(({ type }) => type === wanted).length }
  }

  /** The turns of a flow that are stored, and its attempts whose outcome is unknown. */
  async function readTurns(flowId: string): Promise<{ readonly turns: readonly number[]; readonly lost: readonly string[] }> {
    const turns = await pool.query<{ readonly turn: number }>(
      `select (data->>'turn')::int as turn from polyphony_step_turns where flow_id = $1 and data->>'kind' = 'turn' order by 1`,
      [flowId],
    )
    const lost = await pool.query<{ readonly model: string }>(
      'select model from polyphony_step_attempts where flow_id = $1 and possibly_double_billed order by model',
      [flowId],
    )
    return { turns: turns.rows.map(({ turn }) => turn), lost: lost.rows.map(({ model }) => model) }
  }

  /** Runs a flow whose process is killed at the point; resolves with the number of its writes if it ended before. */
  async function runOnce(plan: KillPlan, point: Point | undefined): Promise<number | undefined> {
    const run = `run ${randomUUID()}`
    const child = await startChild()
    calls = []
    writesBefore = writesSoFar
    let isKilled = false
    onPoint = ({ kind, number, moment }) => {
      if (kind !== point?.kind || number !== point.number || moment !== point.moment) return isKilled
      isKilled = true
      child.process.kill('SIGKILL')
      return true
    }
    child.process.send({ run, flow: plan.flow })
    const created = await child.reported('created')
    const end = await unlessHung(child.reported('completed', 'failed'), `the run that is killed at ${JSON.stringify(point)}`)
    onPoint = () => false
    const flowId = created?.flowId ?? ''
    if (end) {
      expect(end, end.message).toMatchObject({ type: 'completed', output: plan.outputOf(run) })
      child.process.kill('SIGKILL')
      expect(await readTurns(flowId)).toEqual({ turns: plan.turns, lost: [] })
      expect(calls).toHaveLength(plan.calls.model + plan.calls.tool)
      return writesSoFar - writesBefore
    }
    expect(isKilled, 'the process ended by itself').toBe(true)
    const [before] = flowId === '' ? [] : await outcomes.read([flowId])
    // No caller knows the flow, or no process had started it.
    if (!before || before.status === 'PENDING') {
      expect(calls).toEqual([])
      return undefined
    }
    const stored = await readTurns(flowId)
    const callsBefore = calls.length
    const second = await startChild()
    const [after] = await outcomes.until([flowId], ['COMPLETED'], GUARD_MS)
    const context = `after a kill at ${JSON.stringify(point)}`
    expect(after?.outputs[plan.lastStep], context).toBe(plan.outputOf(run))
    plan.check({
      flowId,
      context,
      calls,
      callsAfter: calls.slice(callsBefore),
      turnsBefore: stored.turns,
      outputsBefore: before.outputs,
      lost: (await readTurns(flowId)).lost,
      asked: second.count('asked'),
    })
    return undefined
  }

  /** Writes that meet go into one statement, so a run may end before its n-th write; the next one is killed at its last. */
  async function killOnceAt(plan: KillPlan, point: Point): Promise<void> {
    const writes = await runOnce(plan, point)
    if (writes === undefined) return
    expect(point.kind).toBe('write')
    expect(writes).toBeLessThan(point.number)
    await killOnceAt(plan, { ...point, number: writes } as Point)
  }

  return {
    /** Kills runs of a flow at points spread over all of its boundaries; resolves with the number of those. */
    async killRuns(plan: KillPlan): Promise<number> {
      const writes = (await runOnce(plan, undefined)) ?? 0
      killAll()
      const pointsOf = (kind: CallKind) =>
        range(plan.calls[kind]).flatMap((number) => CALL_MOMENTS.map((moment): Point => ({ kind, number, moment })))
      const points: readonly Point[] = [
        ...pointsOf('model'),
        ...pointsOf('tool'),
        ...range(writes).flatMap((number) => WRITE_MOMENTS.map((moment): Point => ({ kind: 'write', number, moment }))),
      ]
      for (let index = 0; index < plan.runs; index++) {
        const point = points[Math.floor((index * points.length) / Math.min(plan.runs, points.length)) % points.length]
        if (point) await killOnceAt(plan, point)
        killAll()
      }
      return points.length
    },
    killAll,
    async close(): Promise<void> {
      killAll()
      await Promise.all([proxy.close(), world.close(), outcomes.close(), pool.end()])
      await postgres.drop()
    },
  }
}

/** Keys of the calls of an operation that had their effect. */
export const effectsOf = (calls: readonly WorldCall[], operation: string): readonly (string | undefined)[] =>
  calls.filter((call) => call.operation === operation && call.isDone).map(({ key }) => key)
