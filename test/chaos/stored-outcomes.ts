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
}

const OUTCOMES = `
  select f.id as "flowId", f.status, f.error ->> 'code' as code,
    coalesce((select json_object_agg(r.STEP, r.output) from polyphony_step_results r
      where r.flow_id = f.id and r.status = 'SUCCESS'), '{}') as outputs,
    coalesce((select json_object_agg(a.STEP, a.marked) from (
      select STEP, count(*) as marked from polyphony_step_attempts
      where flow_id = f.id and possibly_double_billed group by STEP) a), '{}') as doubled
  from polyphony_flows f where f.id = any($1)`

const POLL_MS = 40

/** Reads outcomes of flows directly from the tables, because the code under test must not judge itself. */
export class OutcomeReader {
  readonly #pool: pg.Pool
  #sql: string | undefined

  constructor(url: string) {
    this.#pool = new pg.Pool({ connectionString: url, max: 2 })
    // Tests restart the server on purpose.
    this.#pool.on('error', () => undefined)
  }

  async read(flowIds: readonly string[]): Promise<readonly StoredOutcome[]> {
    this.#sql ??= OUTCOMES.replaceAll('STEP', await this.#stepColumn())
    return (await this.#pool.query<StoredOutcome>(this.#sql, [flowIds])).rows
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

  close(): Promise<void> {
    return this.#pool.end()
  }

  async #stepColumn(): Promise<string> {
    const { rows } = await this.#pool.query<{ name: string }>(
      `select column_name as name from information_schema.columns
       where table_name = 'polyphony_step_results' and column_name in ('path', 'step_id') order by 1 limit 1`,
    )
    const [column] = rows
    if (!column) throw new Error('expected a table of step results')
    return column.name
  }
}
