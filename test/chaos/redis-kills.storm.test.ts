import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { hasRedisServer, type OwnRedis, openOwnRedis } from '../support/own-redis.ts'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { SEED } from '../support/scale.ts'
import { type CallLog, createCallLog } from './call-log.ts'
import { lineOf } from './chaos-flows.ts'
import { Fleet, type FleetFlow, judgeFleet } from './fleet.ts'
import { createRandom } from './random.ts'
import { OutcomeReader } from './stored-outcomes.ts'
import { endWorkers } from './worker-process.ts'

const KILLS = Number(process.env.CHAOS_REDIS_KILLS ?? 4)
const WORKERS = 2
/** Flows that run at once. */
const WIDTH = 20
const STEPS = 4
/** Longest time from the first answer of the new server to the next flow that was started without Redis and completes. */
const BACK_WITHIN_MS = 10_000
const GUARD_MS = 120_000

const isMissing = !hasRedisServer()
const random = createRandom(SEED)
let postgres: TestPostgres
let redis: OwnRedis
let provider: CallLog
let outcomes: OutcomeReader

beforeAll(async () => {
  if (isMissing) return
  postgres = await openTestPostgres()
  redis = await openOwnRedis()
  outcomes = new OutcomeReader(postgres.url)
  provider = await createCallLog({ answerMs: () => 20 + 300 * random() })
})
afterEach(endWorkers)
afterAll(async () => {
  await Promise.all([provider?.close(), outcomes?.close(), redis?.close()])
  await postgres?.drop()
})

test.skipIf(isMissing)(
  `every flow completes once although Redis is killed ${KILLS} times and comes back empty${isMissing ? ' (skipped: no redis-server is installed)' : ''}`,
  { timeout: 240_000 + KILLS * 30_000 },
  async () => {
    const fleet = new Fleet(
      {
        database: postgres.url,
        redisUrl: redis.url,
        engine: 'bullmq',
        bullmq: { lockMs: 5_000, stalledMs: 2_000, queue: `polyphony-test-${randomBytes(6).toString('hex')}` },
        logLevel: 'silent',
        providers: { desk: { kind: 'openai-compatible', baseUrl: provider.url, apiKey: 'sk-key' } },
      },
      outcomes,
    )
    await fleet.add(WORKERS)
    const flows: FleetFlow[] = []
    /** When each completed flow was started and when it ended. */
    const ends: { readonly startedAt: number; readonly at: number }[] = []
    let isOver = false
    const runAll = async () => {
      while (!isOver) {
        const startedAt = performance.now()
        const flow = await fleet.run((run) => lineOf(run, STEPS))
        flows.push(flow)
        await outcomes.until([flow.flowId], ['COMPLETED'], GUARD_MS)
        ends.push({ startedAt, at: performance.now() })
      }
    }
    const backMs: number[] = []
    const killAll = async () => {
      for (let kill = 0; kill < KILLS; kill++) {
        const before = ends.length
        while (ends.length < before + WIDTH / 2) await sleep(10)
        await redis.kill()
        const killedAt = performance.now()
        // Long enough for flows to end, and for new ones to be started, while there is no Redis.
        await sleep(200 + random() * 3_000)
        await redis.start()
        const backAt = performance.now()
        // Flows that ran before need no Redis to end.
        const findNext = () => ends.find(({ startedAt, at }) => startedAt > killedAt && at > backAt)
        while (!findNext() && !isOver) await sleep(10)
        backMs.push(Math.round((findNext()?.at ?? Number.POSITIVE_INFINITY) - backAt))
      }
      isOver = true
    }
    const stopOnFailure = (error: unknown) => {
      isOver = true
      throw error
    }
    await Promise.all([killAll().catch(stopOnFailure), ...Array.from({ length: WIDTH }, () => runAll().catch(stopOnFailure))])

    const found = await outcomes.read(flows.map(({ flowId }) => flowId))
    const verdict = judgeFleet(flows, found, provider)
    console.log(
      `${flows.length} flows, ${verdict.calls} calls, ${verdict.repeatedAnswers} answers paid again; ms to the next outcome of a flow that was started without Redis: ${backMs.join(', ')}`,
    )
    expect(found.filter(({ status }) => status !== 'COMPLETED')).toEqual([])
    expect(verdict.wrong).toEqual([])
    expect(verdict.unmarked).toEqual([])
    for (const { flowId } of flows) {
      const { updates, results } = await outcomes.written(flowId)
      expect(updates.filter((type) => type === 'flow_complete')).toHaveLength(1)
      expect(results).toHaveLength(STEPS)
    }
    expect(Math.max(...backMs)).toBeLessThan(BACK_WITHIN_MS)
  },
)
