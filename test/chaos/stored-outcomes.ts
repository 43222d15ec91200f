import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

/** What the database holds of one flow. */
export interface StoredOutcome {
  readonly flowId: string
  readonly status: string
  /** Code of its error. */
  readonly code: string | null
  /** SUCCESS results by step. */
  readonly outputs: Readonly<Record<string, string>>
  /** Attempts that are marked as possibly billed twice, by step. */
  readonly doubled: Readonly<Record<string, number>>
  /** Attempts that their own process aborted and recorded, by step. */
  readonly aborted: Readonly<Record<string, number>>
}

const attemptsWhere = (condition: string) => `coalesce((select json_object_agg(a.path, a.found) from (
      select path, count(*) as found from polyphony_step_attempts where flow_id = f.id and ${condition} group by path) a), '{}')`

const OUTCOMES = `
  select f.id as "flowId", f.status, f.error ->> 'code' as code,
    coalesce((select json_object_agg(r.path, r.output) from polyphony_step_results r
      where r.flow_id = f.id and r.status = 'SUCCESS'), '{}') as outputs,
    ${attemptsWhere('possibly_double_billed')} as doubled, ${attemptsWhere('aborted')} as aborted
  from polyphony_flows f where f.id = any($1)`

/** What the database holds of one flow, its thread and the budgets of that thread. */
export interface WrittenFlow {
  readonly status: string
  readonly ownerEpoch: number
  readonly results: readonly { readonly path: string; readonly status: string }[]
  readonly attempts: readonly { readonly path: string; readonly number: number; readonly lost: boolean | null }[]
  /** Types of its updates, without those of streamed text, which are joined later. */
  readonly updates: readonly string[]
  /** Contents of the messages in its thread. */
  readonly messages: readonly string[]
  /** Tokens of the attempts whose answer arrived. */
  readonly ledgerTokens: number
  readonly ledgerNanoUsd: number
  readonly spentTokens: number
  readonly spentNanoUsd: number
  readonly reservedTokens: number
}

/** The type in the stored form of an update. */
const UPDATE_TYPE = 'u ->> 1'

const ofFlow = (columns: string, table: string, order: string) =>
  `coalesce((select json_agg(${columns} order by ${order}) from ${table} where flow_id = f.id), '[]')`
const ofLedger = (sum: string) =>
  `(select coalesce(sum(${sum}), 0)::float8 from polyphony_step_attempts where flow_id = f.id and possibly_double_billed is not true)`
const ofBudget = (column: string) =>
  `(select coalesce(sum(${column}), 0)::float8 from polyphony_budget_usage where subject = f.thread_id)`

const WRITTEN = `
  select f.status, f.owner_epoch as "ownerEpoch",
    ${ofFlow("json_build_object('path', path, 'status', status)", 'polyphony_step_results', 'path, iteration, sample')} as results,
    ${ofFlow("json_build_object('path', path, 'number', number, 'lost', possibly_double_billed)", 'polyphony_step_attempts', 'path, number')} as attempts,
    coalesce((select json_agg(${UPDATE_TYPE} order by (u ->> 0)::int) from polyphony_flow_updates s, json_array_elements(s.batch) u
      where s.flow_id = f.id and ${UPDATE_TYPE} <> 'step_progress'), '[]') as updates,
    coalesce((select json_agg(content order by created_at, recorded) from polyphony_messages where thread_id = f.thread_id), '[]') as messages,
    ${ofLedger('total_tokens')} as "ledgerTokens", ${ofLedger('ceil(cost_usd * 1e9 - 1e-3)')} as "ledgerNanoUsd",
    ${ofBudget('tokens')} as "spentTokens", ${ofBudget('cost_nano_usd')} as "spentNanoUsd", ${ofBudget('reserved_tokens')} as "reservedTokens"
  from polyphony_flows f where f.id = $1`

const POLL_MS = 40

/** Reads outcomes of flows directly from the tables, because the code under test must not judge itself. */
export class OutcomeReader {
  readonly #pool: pg.Pool

  constructor(url: string) {
    this.#pool = new pg.Pool({ connectionString: url, max: 2 })
    // Tests restart the server on purpose.
    this.#pool.on('error', () => undefined)
  }

  async read(flowIds: readonly string[]): Promise<readonly StoredOutcome[]> {
    return (await this.#pool.query<StoredOutcome>(OUTCOMES, [flowIds])).rows
  }

  /** Resolves when all flows have one of the statuses; rejects after `withinMs` and names the others. */
  async until(flowIds: readonly string[], statuses: readonly string[], withinMs: number): Promise<readonly StoredOutcome[]> {
    const deadline = performance.now() + withinMs
    for (;;) {
      const found = await this.read(flowIds).catch(() => [])
      const open = flowIds.filter((id) => !found.some(({ flowId, status }) => flowId === id && statuses.includes(status)))
      if (open.length === 0) return found
      if (performance.now() > deadline) {
        const shown = found.filter(({ flowId }) => open.includes(flowId)).slice(0, 5)
        throw new Error(`${open.length} of ${flowIds.length} flows are not ${statuses.join(' or ')}: ${JSON.stringify(shown)}`)
      }
      await sleep(POLL_MS)
    }
  }

  /** Process id of the owner that runs the flow; `undefined` if none does. */
  async ownerPid(flowId: string): Promise<number | undefined> {
    const { rows } = await this.#pool.query<{ pid: number }>(
      `select o.pid from polyphony_flows f join polyphony_owners o on o.id = f.owner_id where f.id = $1 and f.status = 'RUNNING'`,
      [flowId],
    )
    return rows[0]?.pid
  }

  /** Id of the job in whose slot the flow runs; `null` without one. */
  async jobOf(flowId: string): Promise<string | null> {
    const { rows } = await this.#pool.query<{ job_id: string | null }>(
      'select job_id from polyphony_flow_claims where flow_id = $1 and owner_id is not null',
      [flowId],
    )
    return rows[0]?.job_id ?? null
  }

  /** Everything that is stored of the flow and its thread. */
  async written(flowId: string): Promise<WrittenFlow> {
    const { rows } = await this.#pool.query<WrittenFlow>(WRITTEN, [flowId])
    const [found] = rows
    if (!found) throw new Error(`expected the flow ${flowId}`)
    return found
  }

  close(): Promise<void> {
    return this.#pool.end()
  }
}
