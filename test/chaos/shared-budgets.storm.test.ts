import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import { BUDGET_WINDOWS, type BudgetSettings } from '../../src/domain/users/budget.ts'
import { until } from '../support/flows.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { type OwnPostgres, openOwnPostgres } from '../support/postgres.ts'
import { casesOf, SEED } from '../support/scale.ts'
import { type BudgetJob, type BudgetOutcome, createBillingProvider, PRICE_PER_TOKEN_USD, runBudgetJob } from './budget-flows.ts'
import { createRandom } from './random.ts'

const WORKERS = 16
const FLOWS = 32
/** Runs that share their workers, and so their budgets; each has users, keys, threads and tags of its own. */
const RUNS_PER_FLEET = 10
const RUNS = Number(process.env.CHAOS_BUDGET_RUNS ?? casesOf(12, 4))
/** Of these, runs whose workers are processes, which take a while to start. */
const PROCESS_RUNS = Number(process.env.CHAOS_BUDGET_PROCESS_RUNS ?? casesOf(2, 0))
const SCOPES = ['user', 'key', 'thread', 'tag:team'] as const
const NANO_PER_TOKEN = PRICE_PER_TOKEN_USD * 1e9

interface Worker {
  run(job: BudgetJob): Promise<BudgetOutcome>
  close(): Promise<void>
}

let postgres: OwnPostgres
let pool: pg.Pool
let provider: Awaited<ReturnType<typeof createBillingProvider>>
const random = createRandom(SEED)
const between = (least: number, most: number): number => least + Math.floor(random() * (most - least + 1))

/** Every change of an amount is compared with its maximum, which is not stored. */
const WATCH_SQL = `
create table caps (name text primary key, cost int8, tokens int8, flows int8);
create table excesses (name text, subject text, cost int8, tokens int8, flows int8);
create function watch() returns trigger language plpgsql as $$ begin
  insert into excesses select new.name, new.subject, new.cost_nano_usd + new.reserved_nano_usd, new.tokens + new.reserved_tokens, new.flows
  from caps c where c.name = new.name and (new.cost_nano_usd + new.reserved_nano_usd > c.cost
    or new.tokens + new.reserved_tokens > c.tokens or new.flows > c.flows);
  return new;
end $$;
create trigger watch after update on polyphony_budget_usage for each row execute function watch()`

beforeAll(async () => {
  postgres = await openOwnPostgres()
  await (await openTestPolyphony({ database: postgres.url })).close()
  pool = new pg.Pool({ connectionString: postgres.url, max: 2 })
  await pool.query(WATCH_SQL)
  provider = await createBillingProvider(random)
})
afterAll(async () => {
  await pool?.end()
  await provider?.close()
  await postgres?.drop()
})

let fleets = 0
/** A budget of each scope; over the fleets every scope has every window, and amounts of every kind. */
function nextBudgets(): readonly BudgetSettings[] {
  const fleet = fleets++
  return SCOPES.map((scope, index) => {
    const window = BUDGET_WINDOWS[(index + fleet) % BUDGET_WINDOWS.length] ?? 'day'
    const kind = (index + fleet + Math.floor(fleet / 4)) % 4
    return {
      name: `${fleet} ${scope} ${window}`,
      scope,
      window,
      ...(kind % 2 === 0 && { maxCostUsd: between(300, 2_000) / 1_000 }),
      ...(kind === 1 && { maxTokens: between(300, 2_000) }),
      ...(kind > 1 && { maxFlows: between(3, 20) }),
    }
  })
}

const configOf = (budgets: readonly BudgetSettings[]): PolyphonyConfigInput => ({
  database: postgres.url,
  logLevel: 'error',
  retry: { baseDelayMs: 1 },
  providers: { desk: { kind: 'openai-compatible', baseUrl: provider.url, apiKey: 'sk-key' } },
  prices: { 'desk/m': { inputPerMillion: PRICE_PER_TOKEN_USD * 1e6, outputPerMillion: PRICE_PER_TOKEN_USD * 1e6 } },
  budgets: [...budgets],
})

async function openInstance(config: PolyphonyConfigInput): Promise<Worker> {
  const polyphony = await openTestPolyphony(config)
  return { run: (job) => runBudgetJob(polyphony, job), close: () => polyphony.close() }
}

async function startProcess(config: PolyphonyConfigInput): Promise<Worker> {
  const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
  const script = fileURLToPath(new URL('./budget-child.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', loader, script, JSON.stringify(config)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const waiting = new Map<number, (outcome: BudgetOutcome) => void>()
  const ended = once(child, 'exit')
  await once(child, 'message')
  child.on('message', ({ number, outcome }: { readonly number: number; readonly outcome: BudgetOutcome }) => {
    waiting.get(number)?.(outcome)
  })
  let sent = 0
  return {
    run: (job) =>
      new Promise((resolve) => {
        const number = sent++
        waiting.set(number, resolve)
        child.send({ number, job })
      }),
    async close() {
      child.disconnect()
      await ended
    },
  }
}

let users = 0
/** Flows of two users with two threads each; their keys and tags are shared between them. */
async function nextJobs(): Promise<readonly BudgetJob[]> {
  const number = users++
  const opened = await openTestPolyphony({ database: postgres.url })
  const threads: { readonly userId: string; readonly threadId: string }[] = []
  for (let index = 0; index < 4; index++) {
    const userId = `user-${number}-${index % 2}`
    threads.push({ userId, threadId: (await opened.conversations.createThread(userId)).id })
  }
  await opened.close()
  return Array.from({ length: FLOWS }, () => {
    const { userId, threadId } = threads[between(0, 3)] ?? { userId: '', threadId: '' }
    const [apiKeyId, tag] = [`key-${number}-${between(0, 1)}`, `tag-${number}-${between(0, 1)}`]
    return { userId, threadId, apiKeyId, tag, ...(random() < 0.2 && { cancelAfterMs: between(1, 250) }) }
  })
}

const OPEN_SQL = 'select count(*)::int as open from polyphony_budget_reservations'
/** An amount counts tokens where its budget limits calls, and costs or flows where it limits these. */
const USAGE_SQL = `select subject, case when c.cost is not null then sum(u.cost_nano_usd)::float8 end as cost,
  case when c.cost is not null or c.tokens is not null then sum(u.tokens)::float8 end as tokens,
  case when c.flows is not null then sum(u.flows)::float8 end as flows
from polyphony_budget_usage u join caps c using (name) group by subject, c.name`

interface Usage {
  readonly subject: string
  readonly cost: number | null
  readonly tokens: number | null
  readonly flows: number | null
}

/** Runs the flows of so many runs, and returns how they ended. */
async function runFleets(
  runs: number,
  open: (config: PolyphonyConfigInput) => Promise<Worker>,
): Promise<readonly BudgetOutcome[]> {
  const outcomes: BudgetOutcome[] = []
  for (let left = runs; left > 0; left -= RUNS_PER_FLEET) {
    const budgets = nextBudgets()
    for (const { name, maxCostUsd, maxTokens, maxFlows } of budgets) {
      const cost = maxCostUsd === undefined ? undefined : Math.round(maxCostUsd * 1e9)
      await pool.query('insert into caps values ($1, $2, $3, $4)', [name, cost, maxTokens, maxFlows])
    }
    const workers = await Promise.all(Array.from({ length: WORKERS }, () => open(configOf(budgets))))
    for (let run = 0; run < Math.min(left, RUNS_PER_FLEET); run++) {
      const jobs = await nextJobs()
      const ended = jobs.map((job, index) => workers[index % WORKERS]?.run(job))
      outcomes.push(...(await Promise.all(ended)).flatMap((outcome) => outcome ?? []))
    }
    // An aborted call does not wait until its settlement is stored.
    await until(async () => (await pool.query<{ open: number }>(OPEN_SQL)).rows[0]?.open === 0)
    await Promise.all(workers.map((worker) => worker.close()))
  }
  return outcomes
}

/** No amount was ever above its maximum, and none holds less than what the provider has billed. */
async function expectKept(outcomes: readonly BudgetOutcome[]): Promise<void> {
  const { rows: excesses } = await pool.query('select * from excesses')
  const { rows } = await pool.query<Usage>(USAGE_SQL)
  const uncounted = rows.filter(({ subject, cost, tokens, flows }) => {
    const bill = provider.bills.get(subject) ?? { tokens: 0, flows: { size: 0 } }
    const counted = Math.min((cost ?? Number.POSITIVE_INFINITY) / NANO_PER_TOKEN, tokens ?? Number.POSITIVE_INFINITY)
    return counted < bill.tokens || (flows ?? Number.POSITIVE_INFINITY) < bill.flows.size
  })
  const counts = new Map<string, number>()
  for (const { code, scope, limit } of outcomes) {
    const key = [code, scope, limit].filter((word) => word !== undefined).join(' ')
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  console.info(
    `${provider.calls()} calls, ${rows.length} amounts, ${excesses.length} above their maximum:`,
    Object.fromEntries(counts),
  )
  expect(excesses).toEqual([])
  expect(uncounted).toEqual([])
  const codes = new Set(outcomes.map(({ code }) => code))
  expect([...codes].sort()).toEqual(expect.arrayContaining(['COMPLETED', 'FLOW_CANCELLED', 'LIMIT_EXCEEDED']))
}

test(`${WORKERS} workers never exceed a budget together in ${RUNS} runs with calls that fail and are aborted`, {
  timeout: 60_000 + RUNS * 15_000,
}, async () => {
  await expectKept(await runFleets(RUNS - PROCESS_RUNS, openInstance))
})

test.skipIf(PROCESS_RUNS === 0)(
  `${WORKERS} processes never exceed a budget together in ${PROCESS_RUNS} of the runs`,
  {
    timeout: 300_000 + PROCESS_RUNS * 15_000,
  },
  async () => {
    await expectKept(await runFleets(PROCESS_RUNS, startProcess))
  },
)
