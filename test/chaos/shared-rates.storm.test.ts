import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { lineOf } from './chaos-flows.ts'
import { CHAOS_ENGINES } from './engines.ts'
import { Fleet } from './fleet.ts'
import type { ProviderReport } from './provider-child.ts'
import { OutcomeReader } from './stored-outcomes.ts'
import { endWorkers } from './worker-process.ts'

const SECONDS = Number(process.env.CHAOS_RATE_SECONDS ?? 15)
const WORKERS = 3
const PER_SECOND = 10
/** The first request of each process takes several slots. */
const STARTING_MS = 3_000
/** Enough flows that every worker always has calls that wait. */
const STEPS = 4
const FLOWS = Math.ceil((SECONDS * PER_SECOND * 1.5) / STEPS) + WORKERS * 10
const ANSWER_MS = 20

const LOADER = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
const SCRIPT = fileURLToPath(new URL('./provider-child.ts', import.meta.url))

// With the engine `local` rates hold in each process alone.
describe.each(CHAOS_ENGINES.filter(({ name }) => name !== 'local'))('$name', ({ configOf, problem, clear }) => {
  let postgres: TestPostgres
  let outcomes: OutcomeReader
  let provider: ChildProcess
  let url = ''

  const reported = async (): Promise<ProviderReport> => (await once(provider, 'message'))[0]
  const arrivals = async (): Promise<readonly number[]> => {
    provider.send('report')
    const report = await reported()
    return report.type === 'arrivals' ? report.arrivedAtMs : []
  }

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
    // On a busy machine a request may reach the provider long after it was sent. The long form has one try.
    { timeout: 300_000 + SECONDS * 2_000, retry: SECONDS >= 60 ? 0 : 2 },
    async () => {
      const { length: before } = await arrivals()
      const fleet = new Fleet(limited(configOf(postgres.url, url)), outcomes)
      await fleet.add(WORKERS)
      await Promise.all(Array.from({ length: FLOWS }, () => fleet.run((run) => lineOf(run, STEPS))))
      await sleep(SECONDS * 1_000)
      const found = (await arrivals()).slice(before)
      const most = Math.max(...found.map((at) => found.filter((other) => other >= at && other < at + 1_000).length))
      const used = perSecond(found)
      const usedLater = perSecond(found.filter((at) => at >= (found[0] ?? 0) + STARTING_MS))
      console.log(`at most ${most} in a second; used ${used.toFixed(2)}, after the start ${usedLater.toFixed(2)} in a second`)
      expect(most).toBeLessThanOrEqual(PER_SECOND + 1)
      expect(usedLater).toBeGreaterThanOrEqual(PER_SECOND * 0.95)
      if (SECONDS >= 60) expect(used).toBeGreaterThanOrEqual(PER_SECOND * 0.95)
    },
  )
})

const perSecond = (times: readonly number[]): number => (times.length - 1) / (((times.at(-1) ?? 0) - (times[0] ?? 0)) / 1_000)
