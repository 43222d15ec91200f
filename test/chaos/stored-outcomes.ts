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

  /** The largest number of results that any step of the flow has. */
  async resultsPerStep(flowId: string): Promise<number> {
    const { rows } = await this.#pool.query<{ most: number }>(
      `select max(results)::int as most from (
        select count(*) as results from polyphony_step_results where flow_id = $1 group by path) r`,
      [flowId],
    )
    return rows[0]?.most ?? 0
  }

  close(): Promise<void> {
    return this.#pool.end()
  }
}
