import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { casesOf } from '../support/scale.ts'
import { lineOf } from './chaos-flows.ts'
import { CHAOS_ENGINES } from './engines.ts'
import { Fleet } from './fleet.ts'
import type { ProviderReport } from './provider-child.ts'
import { OutcomeReader } from './stored-outcomes.ts'
import { endWorkers } from './worker-process.ts'

const SECONDS = Number(process.env.CHAOS_RATE_SECONDS ?? casesOf(10, 5))
const WORKERS = 3
const PER_SECOND = 10
/** Enough flows that every worker always has calls that wait. */
const STEPS = 4
const FLOWS = Math.ceil((SECONDS * PER_SECOND * 1.5) / STEPS) + WORKERS * 10
const ANSWER_MS = 20

const LOADER = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
const SCRIPT = fileURLToPath(new URL('./provider-child.ts', import.meta.url))

describe.each(CHAOS_ENGINES)('$name', ({ configOf, problem, clear }) => {
  let postgres: TestPostgres
  let outcomes: OutcomeReader
  let provider: ChildProcess
  let url = ''

  const reported = async (): Promise<ProviderReport> => (await once(provider, 'message'))[0]

  beforeAll(async () => {
    postgres = await openTestPostgres()
    outcomes = new OutcomeReader(postgres.url)
    provider = spawn(process.execPath, ['--import', LOADER, SCRIPT, String(ANSWER_MS)], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    const open = await reported()
    if (open.type === 'open') url = open.url
  })
  afterEach(endWorkers)
  afterAll(async () => {
    provider.kill('SIGKILL')
    await outcomes.close()
    await postgres.drop()
    await clear?.()
  })

  const limited = (config: PolyphonyConfigInput): PolyphonyConfigInput => {
    const [desk] = Object.entries(config.providers ?? {}).map(([id, provider]) => ({
      [id]: { ...provider, requestsPerMinute: PER_SECOND * 60 },
    }))
    return { ...config, providers: desk }
  }

  test.skipIf(problem)(
    `${WORKERS} workers use ${PER_SECOND} requests in a second together, and never send more than ${PER_SECOND + 1}`,
    { timeout: 120_000 + SECONDS * 2_000 },
    async () => {
      const fleet = new Fleet(limited(configOf(postgres.url, url)), outcomes)
      await fleet.add(WORKERS)
      await Promise.all(Array.from({ length: FLOWS }, () => fleet.run((run) => lineOf(run, STEPS))))
      await sleep(SECONDS * 1_000)
      provider.send('report')
      const report = await reported()
      const arrivals = report.type === 'arrivals' ? report.arrivedAtMs.slice(-SECONDS * PER_SECOND) : []
      const [first = 0] = arrivals
      const most = Math.max(...arrivals.map((at) => arrivals.filter((other) => other >= at && other < at + 1_000).length))
      const used = (arrivals.length - 1) / (((arrivals.at(-1) ?? 0) - first) / 1_000)
      console.log(`at most ${most} in a second, ${used.toFixed(2)} in a second used`)
      expect(most).toBeLessThanOrEqual(PER_SECOND + 1)
      expect(used).toBeGreaterThanOrEqual(PER_SECOND * 0.95)
    },
  )
})
