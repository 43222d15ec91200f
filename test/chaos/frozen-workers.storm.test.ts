import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { unlessHung } from '../faults/observation.ts'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { casesOf } from '../support/scale.ts'
import { answerOf, type CallLog, createCallLog, type LoggedCall } from './call-log.ts'
import { lineOf } from './chaos-flows.ts'
import { CHAOS_ENGINES } from './engines.ts'
import { Fleet, type FleetFlow, judgeFleet } from './fleet.ts'
import { OutcomeReader, type WrittenFlow } from './stored-outcomes.ts'
import { endWorkers, type WorkerProcess } from './worker-process.ts'

const FREEZES = Number(process.env.CHAOS_FREEZES ?? casesOf(4, 4))
/** Workers that are frozen at the same time, each with one flow. One more stays awake. */
const WIDTH = 4
const STEPS = 3
const PATHS = Array.from({ length: STEPS }, (_, index) => `s${index + 1}`)
const LAST = `s${STEPS}`
/** Milliseconds in which the owner of a call is found and stopped, on a busy machine. */
const HELD_MS = 4_000
const GUARD_MS = 180_000

/** Where a worker is frozen, and when it continues: while another one repeats its call, or after that one has completed the flow. */
const PLANS = [
  { step: 's2', wakes: 'during the repeated call' },
  { step: 's2', wakes: 'after the end' },
  { step: LAST, wakes: 'during the repeated call' },
  { step: LAST, wakes: 'after the end' },
] as const

/** The tokens of a call are below what its budget allows, so that no flow waits for the reservation of a frozen worker. */
const SPENDING = {
  prices: { 'desk/m': { inputPerMillion: 1_000, outputPerMillion: 1_000 } },
  budgets: [{ name: 'thread', scope: 'thread' as const, window: 'month' as const, maxTokens: 10_000_000, maxCostUsd: 100_000 }],
}

describe.each(CHAOS_ENGINES)('$name', ({ configOf, problem, clear }) => {
  let postgres: TestPostgres
  let provider: CallLog
  let outcomes: OutcomeReader
  let onRequest: (call: LoggedCall) => void = () => {}
  /** Calls in which a worker is to be frozen. */
  const held = new Set<LoggedCall>()

  beforeAll(async () => {
    postgres = await openTestPostgres()
    outcomes = new OutcomeReader(postgres.url)
    provider = await createCallLog({
      answerMs: (call) => (held.has(call) ? HELD_MS : 300),
      onMoment: (moment, call) => void (moment === 'requested' && onRequest(call)),
    })
  })
  afterEach(endWorkers)
  afterAll(async () => {
    await Promise.all([provider.close(), outcomes.close()])
    await postgres.drop()
    await clear?.()
  })

  /** Starts one flow per worker, freezes all workers but one in their calls, and wakes each as planned. */
  async function freezeOnce(fleet: Fleet): Promise<readonly string[]> {
    const [awake] = fleet.workers
    const frozen = new Map<string, { readonly worker: WorkerProcess; readonly wakes: string }>()
    const wake = (run: string) => void frozen.get(run)?.worker.child.kill('SIGCONT')
    const planned = new Map<string, (typeof PLANS)[number]>()
    const accepted = new Map<string, (flowId: string) => void>()
    const flowIdOf = new Map<string, Promise<string>>()
    const seen = new Map<string, number>()
    const freezing: Promise<void>[] = []

    const freeze = async (run: string, wakes: string) => {
      const pid = await outcomes.ownerPid((await flowIdOf.get(run)) ?? run)
      const worker = fleet.workers.find(({ child }) => child.pid === pid)
      if (!worker || worker === awake) return
      worker.child.kill('SIGSTOP')
      frozen.set(run, { worker, wakes })
    }
    onRequest = (call) => {
      const { run, step } = call
      const plan = planned.get(run)
      if (step !== plan?.step) return
      const times = (seen.get(run) ?? 0) + 1
      seen.set(run, times)
      if (times === 1) {
        held.add(call)
        freezing.push(freeze(run, plan.wakes))
      }
      if (times === 2 && plan.wakes === 'during the repeated call') wake(run)
    }
    const flows: FleetFlow[] = []
    for (let index = 0; index <= WIDTH; index++) {
      const plan = PLANS[index % PLANS.length]
      const flow = await fleet.run((run) => {
        if (plan) planned.set(run, plan)
        flowIdOf.set(run, new Promise((resolve) => accepted.set(run, resolve)))
        return lineOf(run, STEPS)
      })
      accepted.get(flow.run)?.(flow.flowId)
      flows.push(flow)
    }
    const ids = flows.map(({ flowId }) => flowId)
    const settled = await outcomes.until(ids, ['COMPLETED'], GUARD_MS)
    await Promise.all(freezing)

    const judged = await Promise.all(
      [...frozen].map(async ([run, { worker, wakes }]) => {
        const flow = flows.find((started) => started.run === run)
        if (!flow) throw new Error(`expected the flow of ${run}`)
        const before = await outcomes.written(flow.flowId)
        wake(run)
        worker.send({ type: 'rest', run })
        const rest = worker.reported((report) => report.run === run && report.type === 'resting')
        expect(await unlessHung(rest, `the rest of ${worker.child.pid}`)).toBeDefined()
        // An orderly end stores everything that a process still wants to write.
        const ended = once(worker.child, 'exit')
        worker.child.kill('SIGTERM')
        await unlessHung(ended, `the end of ${worker.child.pid}`)
        const after = await outcomes.written(flow.flowId)
        const context = `${flow.flowId}, woken ${wakes}`
        if (wakes === 'after the end') expect({ ...after, reservedTokens: 0 }, context).toEqual({ ...before, reservedTokens: 0 })
        expect(after.ownerEpoch, context).toBeGreaterThan(1)
        expectOnce(after, run, context)
        return context
      }),
    )
    const verdict = judgeFleet(flows, settled, provider)
    expect(verdict.wrong).toEqual([])
    expect(verdict.unmarked).toEqual([])
    for (const { worker } of frozen.values()) await fleet.replace(fleet.workers.indexOf(worker))
    return judged
  }

  /** The flow is stored as if it had been run once, but for the attempts that were lost. */
  function expectOnce(written: WrittenFlow, run: string, context: string): void {
    expect(written.results, context).toEqual(PATHS.map((path) => ({ path, status: 'SUCCESS' })))
    expect(written.messages, context).toEqual(PATHS.map((path) => answerOf(run, path)))
    const countOf = (type: string) => written.updates.filter((found) => found === type).length
    expect([countOf('step_complete'), countOf('flow_complete')], context).toEqual([STEPS, 1])
    expect(
      written.attempts.filter(({ lost }) => !lost).map(({ path }) => path),
      context,
    ).toEqual(PATHS)
    expect(written.ledgerTokens, context).toBeGreaterThan(0)
    expect([written.spentTokens, written.spentNanoUsd], `spent by ${context}`).toEqual([
      written.ledgerTokens,
      written.ledgerNanoUsd,
    ])
    expect(written.reservedTokens, `reserved by ${context}`).toBe(0)
  }

  test.skipIf(problem)(
    `a worker that was frozen writes no result, message, update or spending when it wakes after another one took over, ${FREEZES} times`,
    { timeout: 240_000 + FREEZES * 30_000 },
    async () => {
      const config = configOf(postgres.url, provider.url)
      // One flow per worker, so that the frozen ones are known.
      const fleet = new Fleet(
        { ...config, ...SPENDING, ...(config.bullmq && { bullmq: { ...config.bullmq, concurrency: 1 } }) },
        outcomes,
      )
      await fleet.add(WIDTH + 1)
      const judged: string[] = []
      while (judged.length < FREEZES) judged.push(...(await freezeOnce(fleet)))
      console.log(`${judged.length} frozen workers`)
    },
  )
})
