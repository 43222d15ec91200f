import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { SEED } from '../support/scale.ts'
import { type CallLog, createCallLog } from './call-log.ts'
import { CHAOS_USER, lineOf } from './chaos-flows.ts'
import { CHAOS_ENGINES } from './engines.ts'
import { Fleet } from './fleet.ts'
import { createRandom } from './random.ts'
import { OutcomeReader } from './stored-outcomes.ts'
import { endWorkers } from './worker-process.ts'

/** Times that a stream is left and taken up again in another process. */
const RESUMES = Number(process.env.CHAOS_RESUMES ?? 100)
/** Flows that are followed at once. */
const WIDTH = 10
const STEPS = 6
/** Most updates between two cuts. */
const LONGEST = 6
const RESUMES_PER_KILL = 25
const GUARD_MS = 120_000

describe.each(CHAOS_ENGINES.filter(({ name }) => name !== 'local'))('$name', ({ configOf, problem, clear }) => {
  let postgres: TestPostgres
  let provider: CallLog
  let outcomes: OutcomeReader
  const random = createRandom(SEED)

  beforeAll(async () => {
    postgres = await openTestPostgres()
    outcomes = new OutcomeReader(postgres.url)
    provider = await createCallLog({ answerMs: () => 20 + 200 * random() })
  })
  afterEach(endWorkers)
  afterAll(async () => {
    await Promise.all([provider.close(), outcomes.close()])
    await postgres.drop()
    await clear?.()
  })

  test.skipIf(problem)(
    `${RESUMES} streams that are taken up on another server, while workers are killed, lose and repeat no update`,
    { timeout: 240_000 + RESUMES * 2_000 },
    async () => {
      const config = configOf(postgres.url, provider.url)
      const fleet = new Fleet(config, outcomes)
      await fleet.add(2)
      const servers = [
        await openTestPolyphony({ ...config, takesFlows: false }),
        await openTestPolyphony({ ...config, takesFlows: false }),
      ]
      onTestFinished(async () => void (await Promise.all(servers.map((server) => server.close()))))
      let resumes = 0
      let kills = 0
      let replacing: Promise<void> | undefined
      let failure: unknown

      const countResume = () => {
        resumes++
        if (replacing || resumes < (kills + 1) * RESUMES_PER_KILL) return
        replacing = fleet
          .replace(kills++ % 2)
          .catch((error: unknown) => {
            failure = error
          })
          .finally(() => {
            replacing = undefined
          })
      }

      /** Sequence numbers as they arrived over all servers, and the type of the last update. */
      async function follow(flowId: string) {
        const seqs: number[] = []
        for (let turn = 0; ; turn++) {
          const server = servers[turn % servers.length]
          if (!server) throw new Error('expected a server')
          const wanted = seqs.length + 1 + Math.floor(random() * LONGEST)
          let last = ''
          for await (const { seq, type } of server.orchestrator.streamFlow(flowId, CHAOS_USER, { afterSeq: seqs.at(-1) ?? 0 })) {
            seqs.push(seq)
            last = type
            if (seqs.length >= wanted) break
          }
          if (last === 'flow_complete') return seqs
          if (seqs.length < wanted) throw new Error(`expected flow_complete at the end of a stream, found "${last}"`)
          countResume()
        }
      }

      const torn: string[] = []
      let flows = 0
      const followAll = async () => {
        while (resumes < RESUMES) {
          await replacing
          const { flowId } = await fleet.run((run) => lineOf(run, STEPS))
          flows++
          const seqs = await follow(flowId)
          await outcomes.until([flowId], ['COMPLETED'], GUARD_MS)
          if (seqs.some((seq, index) => seq !== index + 1)) torn.push(`${flowId}: ${seqs.join(' ')}`)
        }
      }
      await Promise.all(Array.from({ length: WIDTH }, followAll))
      await replacing
      console.log(`${flows} flows, ${resumes} streams taken up again, ${kills} workers killed`)
      expect(failure).toBeUndefined()
      expect(kills).toBeGreaterThan(0)
      expect(torn).toEqual([])
    },
  )
})
