import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { casesOf, isShort, SEED } from '../support/scale.ts'
import { type CallLog, createCallLog } from './call-log.ts'
import { graphOf, layersOf, panelOf } from './chaos-flows.ts'
import { CHAOS_ENGINES } from './engines.ts'
import { Fleet, type FleetFlow, judgeFleet } from './fleet.ts'
import { createRandom } from './random.ts'
import { OutcomeReader } from './stored-outcomes.ts'
import { endWorkers } from './worker-process.ts'

const FLOWS = Number(process.env.CHAOS_GRAPHS ?? casesOf(60, 12))
/** Flows that run at once. */
const WIDTH = 12
const GUARD_MS = 120_000

describe.each(isShort ? CHAOS_ENGINES.slice(0, 1) : CHAOS_ENGINES)('$name', ({ configOf, problem, clear }) => {
  let postgres: TestPostgres
  let provider: CallLog
  let outcomes: OutcomeReader
  let onCall: (number: number) => void = () => {}
  const random = createRandom(SEED)
  const between = (least: number, most: number): number => least + Math.floor(random() * (most - least + 1))

  beforeAll(async () => {
    postgres = await openTestPostgres()
    outcomes = new OutcomeReader(postgres.url)
    provider = await createCallLog({
      // Many short answers and a few long ones.
      answerMs: () => 5 + 600 * random() ** 3,
      onMoment: (moment, _, number) => void (moment === 'requested' && onCall(number)),
    })
  })
  afterEach(endWorkers)
  afterAll(async () => {
    await Promise.all([provider.close(), outcomes.close()])
    await postgres.drop()
    await clear?.()
  })

  const define = (run: string) => {
    const shape = random()
    if (shape < 0.4) return graphOf(run, between(4, 8), random)
    return shape < 0.7 ? panelOf(run, between(2, 5)) : layersOf(run, between(2, 3), between(2, 3))
  }

  test.skipIf(problem)(
    `${FLOWS} flows with parallel steps complete although workers are killed in the midst of them`,
    { timeout: 240_000 + FLOWS * 6_000 },
    async () => {
      const fleet = new Fleet(configOf(postgres.url, provider.url), outcomes)
      await fleet.add(2)
      let kills = 0
      let nextKill = between(4, 16)
      let replacing: Promise<void> | undefined
      let failure: unknown
      // A kill comes with a call, so that it always hits flows, and never while the worker before is being replaced.
      onCall = (number) => {
        if (replacing || number < nextKill) return
        kills++
        replacing = fleet
          .replace(between(0, 1))
          .catch((error: unknown) => {
            failure = error
          })
          .finally(() => {
            replacing = undefined
            nextKill = provider.calls.length + between(4, 24)
          })
      }
      const flows: FleetFlow[] = []
      let waiting = FLOWS
      const startAll = async () => {
        while (waiting-- > 0) {
          // A flow begins when both workers are there, so that the kills meet flows in their midst, not queued ones.
          await replacing
          const flow = await fleet.run(define)
          flows.push(flow)
          await outcomes.until([flow.flowId], ['COMPLETED'], GUARD_MS)
        }
      }
      await Promise.all(Array.from({ length: WIDTH }, startAll))
      onCall = () => {}
      await replacing
      expect(failure).toBeUndefined()
      const found = await outcomes.read(flows.map(({ flowId }) => flowId))
      const verdict = judgeFleet(flows, found, provider)
      const completed = found.filter(({ status }) => status === 'COMPLETED').length
      console.log(
        `${completed} of ${FLOWS} complete, ${verdict.calls} calls, ${verdict.repeatedAnswers} answers paid again after ${kills} kills`,
      )
      expect(completed).toBe(FLOWS)
      expect(kills).toBeGreaterThanOrEqual(FLOWS / 30)
      expect(verdict.wrong).toEqual([])
      expect(verdict.unmarked).toEqual([])
      expect(verdict.unfed).toEqual([])
    },
  )
})
