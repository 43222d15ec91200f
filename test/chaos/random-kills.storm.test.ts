import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { casesOf, SEED } from '../support/scale.ts'
import { type CallLog, createCallLog } from './call-log.ts'
import { graphOf } from './chaos-flows.ts'
import { CHAOS_ENGINES } from './engines.ts'
import { Fleet, type FleetFlow, judgeFleet } from './fleet.ts'
import { createRandom } from './random.ts'
import { OutcomeReader } from './stored-outcomes.ts'
import { endWorkers } from './worker-process.ts'

const FLOWS = Number(process.env.CHAOS_FLOWS ?? casesOf(60, 12))
const KILLS = Number(process.env.CHAOS_KILLS ?? casesOf(3, 1))
/** Flows that run at once. */
const WIDTH = 20
const GUARD_MS = 120_000

describe.each(CHAOS_ENGINES)('$name', ({ configOf, problem, clear }) => {
  let postgres: TestPostgres
  let provider: CallLog
  let outcomes: OutcomeReader
  const random = createRandom(SEED)

  beforeAll(async () => {
    postgres = await openTestPostgres()
    outcomes = new OutcomeReader(postgres.url)
    provider = await createCallLog({ answerMs: () => 20 + random() * 200 })
  })
  afterEach(endWorkers)
  afterAll(async () => {
    await Promise.all([provider.close(), outcomes.close()])
    await postgres.drop()
    await clear?.()
  })

  test.skipIf(problem)(
    `${FLOWS} flows complete once although their workers are killed ${KILLS} times`,
    {
      timeout: 240_000 + KILLS * 20_000,
    },
    async () => {
      const fleet = new Fleet(configOf(postgres.url, provider.url), outcomes)
      await fleet.add(2)
      const flows: FleetFlow[] = []
      let waiting = FLOWS
      const startAll = async () => {
        while (waiting-- > 0) {
          const flow = await fleet.run((run) => graphOf(run, 3 + Math.floor(random() * 4), random))
          flows.push(flow)
          // Flows come over the whole test, so that every kill hits some.
          await outcomes.until([flow.flowId], ['COMPLETED'], GUARD_MS)
        }
      }
      const killAll = async () => {
        for (let kill = 0; kill < KILLS; kill++) {
          await sleep(random() * 40)
          await fleet.replace(kill % 2)
        }
      }
      await Promise.all([killAll(), ...Array.from({ length: WIDTH }, startAll)])
      expect(flows).toHaveLength(FLOWS)
      const verdict = judgeFleet(flows, await outcomes.read(flows.map(({ flowId }) => flowId)), provider)
      console.log(`${verdict.calls} calls, ${verdict.repeatedAnswers} answers paid again after ${KILLS} kills`)
      expect(verdict.wrong).toEqual([])
      expect(verdict.unmarked).toEqual([])
      expect(verdict.unfed).toEqual([])
      expect(verdict.repeatedAnswers).toBeLessThanOrEqual(verdict.calls * 0.05)
    },
  )
})
