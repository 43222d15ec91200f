import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { casesOf } from '../support/scale.ts'
import { type CallLog, createCallLog, type LoggedCall } from './call-log.ts'
import { lineOf } from './chaos-flows.ts'
import { CHAOS_ENGINES } from './engines.ts'
import { Fleet, type FleetFlow, judgeFleet } from './fleet.ts'
import { OutcomeReader } from './stored-outcomes.ts'
import { endWorkers, type WorkerProcess } from './worker-process.ts'

const RUNS = Number(process.env.CHAOS_RUNS ?? casesOf(2, 1))
const STEPS = 5
const GUARD_MS = 120_000
const TIMEOUT_MS = 120_000 + RUNS * 60_000

describe.each(CHAOS_ENGINES)('$name', ({ name, configOf, problem, clear }) => {
  let postgres: TestPostgres
  let provider: CallLog
  let outcomes: OutcomeReader
  let fleet: Fleet
  let onRequest: (call: LoggedCall) => void = () => {}

  beforeAll(async () => {
    postgres = await openTestPostgres()
    outcomes = new OutcomeReader(postgres.url)
    provider = await createCallLog({
      answerMs: () => 120,
      onMoment: (moment, call) => void (moment === 'requested' && onRequest(call)),
    })
  })
  beforeEach(async () => {
    fleet = new Fleet(configOf(postgres.url, provider.url), outcomes)
    await fleet.add(2)
  })
  afterEach(endWorkers)
  afterAll(async () => {
    await Promise.all([provider.close(), outcomes.close()])
    await postgres.drop()
    await clear?.()
  })

  /** Resolves with the call of the n-th step of the flow. */
  const callOf = (step: string) =>
    new Promise<LoggedCall>((resolve) => {
      onRequest = (call) => void (call.step === step && resolve(call))
    })

  const milliseconds = (values: readonly number[]): string => {
    const sorted = [...values].sort((a, b) => a - b)
    return `p50 ${sorted[sorted.length >> 1]?.toFixed(0)} ms, max ${sorted.at(-1)?.toFixed(0)} ms`
  }

  async function judge(flow: FleetFlow, allowedRepeats: number): Promise<void> {
    const verdict = judgeFleet([flow], await outcomes.until([flow.flowId], ['COMPLETED'], GUARD_MS), provider)
    expect(verdict.wrong).toEqual([])
    expect(verdict.unmarked).toEqual([])
    expect(verdict.calls).toBeLessThanOrEqual(STEPS + allowedRepeats)
  }

  const ownerOf = async (flowId: string): Promise<WorkerProcess> => {
    const pid = await outcomes.ownerPid(flowId)
    const owner = fleet.workers.find(({ child }) => child.pid === pid)
    if (!owner) throw new Error(`expected a worker with process id ${pid}`)
    return owner
  }

  test.skipIf(problem)(
    'a worker that is killed is replaced by another one, which repeats only the call in flight',
    {
      timeout: TIMEOUT_MS,
    },
    async () => {
      const waits: number[] = []
      for (let run = 0; run < RUNS; run++) {
        const third = callOf('s3')
        const flow = await fleet.run((name) => lineOf(name, STEPS))
        await third
        const index = fleet.workers.indexOf(await ownerOf(flow.flowId))
        const again = callOf('s3')
        const killedAtMs = performance.now()
        fleet.workers[index]?.child.kill('SIGKILL')
        waits.push((await again).arrivedAtMs - killedAtMs)
        await judge(flow, 1)
        await fleet.replace(index)
      }
      console.log(`a killed worker to the next call: ${milliseconds(waits)} in ${RUNS} runs`)
    },
  )

  test.runIf(name.startsWith('bullmq') && !problem)(
    'the second flow of a slot is continued by another worker when the first one is killed',
    { timeout: TIMEOUT_MS },
    async () => {
      await endWorkers()
      const lone = new Fleet(configOf(postgres.url, provider.url), outcomes)
      await lone.add(1)
      const jobs: (string | null)[] = []
      const startFlow = async () => {
        const third = callOf('s3')
        const flow = await lone.run((run) => lineOf(run, STEPS))
        await third
        jobs.push(await outcomes.jobOf(flow.flowId))
        return flow
      }
      const first = await startFlow()
      await outcomes.until([first.flowId], ['COMPLETED'], GUARD_MS)
      const second = await startFlow()
      expect(jobs[0]).toMatch(/./)
      expect(jobs[1]).toBe(jobs[0])
      await lone.replace(0)
      await judge(second, 1)
      expect((await outcomes.written(second.flowId)).ownerEpoch).toBeGreaterThan(1)
    },
  )

  test.skipIf(problem)('a worker that gets SIGTERM hands its flow over', { timeout: TIMEOUT_MS }, async () => {
    const waits: number[] = []
    for (let run = 0; run < RUNS; run++) {
      const third = callOf('s3')
      const flow = await fleet.run((name) => lineOf(name, STEPS))
      await third
      const owner = await ownerOf(flow.flowId)
      const next = new Promise<LoggedCall>((resolve) => {
        onRequest = resolve
      })
      const endedAtMs = performance.now()
      owner.child.kill('SIGTERM')
      waits.push((await next).arrivedAtMs - endedAtMs)
      await judge(flow, 1)
      if (owner.child.exitCode === null) await once(owner.child, 'exit')
      await fleet.replace(fleet.workers.indexOf(owner))
    }
    console.log(`SIGTERM to the next call: ${milliseconds(waits)} in ${RUNS} runs`)
  })

  test.skipIf(problem)(
    'cancelling in one worker closes the connections of another one, which makes no further call',
    {
      timeout: TIMEOUT_MS,
    },
    async () => {
      const waits: number[] = []
      for (let run = 0; run < RUNS; run++) {
        const second = callOf('s2')
        const flow = await fleet.run((name) => lineOf(name, STEPS))
        const call = await second
        const owner = await ownerOf(flow.flowId)
        const other = fleet.workers.find((worker) => worker !== owner)
        const cancelledAtMs = performance.now()
        other?.send({ type: 'cancel', run: flow.run, flowId: flow.flowId })
        await outcomes.until([flow.flowId], ['CANCELLED'], GUARD_MS)
        await provider.settled(call)
        waits.push(Math.max(0, (call.closedAtMs ?? call.answeredAtMs ?? 0) - cancelledAtMs))
        expect(provider.callsOf(flow.run, 's4')).toHaveLength(0)
      }
      console.log(`cancel in another process to the closed socket: ${milliseconds(waits)} in ${RUNS} runs`)
    },
  )
})
