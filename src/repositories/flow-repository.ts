import { LRUCache } from 'lru-cache'
import type { Pool } from 'pg'
import type { DataSource } from 'typeorm'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { createBatchedRead } from './batched-read.ts'
import { guarded } from './database-errors.ts'
import { FlowEntity, type FlowRow } from './entities/flow.ts'
import { canBeFlowId } from './flow-key.ts'
import { type FlowRecord, fromFlowRecord, fromFlowRow } from './flow-rows.ts'
import { present } from './present.ts'
import type { FlowRepository, ListFlowsQuery, StoredDefinition, StoredFlow } from './repository.ts'
import { fromStepResultRecord, STEP_RESULTS_SQL, type StepResultRecord } from './step-result-rows.ts'

// Names of columns reach the SQL text, so callers choose among these and never give one.
const SORT_COLUMNS = { createdAt: 'createdAt', completedAt: 'completedAt', name: 'name' } as const satisfies Record<
  string,
  keyof FlowRow
>

const DEFINITION_CACHE_BYTES = 32 * 1024 * 1024

const DELETE_SQL = `with gone as (delete from polyphony_flows where id = $1 and status <> 'RUNNING' returning id),
results as (delete from polyphony_step_results where flow_id in (select id from gone)),
attempts as (delete from polyphony_step_attempts where flow_id in (select id from gone)),
updates as (delete from polyphony_flow_updates where flow_id in (select id from gone))
select (select count(*) from gone) as deleted, (select count(*) from polyphony_flows where id = $1) as found`

export function createFlowRepository(dataSource: DataSource, pool: Pool): FlowRepository {
  const definitions = new LRUCache<string, StoredDefinition>({
    maxSize: DEFINITION_CACHE_BYTES,
    sizeCalculation: (definition) => definition.json.length * 2 + 200,
  })

  async function loadDefinitions(hashes: readonly string[]): Promise<ReadonlyMap<string, StoredDefinition>> {
    const found = new Map<string, StoredDefinition>()
    const missing: string[] = []
    for (const hash of new Set(hashes)) {
      const cached = definitions.get(hash)
      if (cached) found.set(hash, cached)
      else missing.push(hash)
    }
    if (missing.length === 0) return found
    const { rows } = await pool.query<{ hash: string; json: string; version: string | null; is_data: boolean }>({
      name: 'polyphony_definitions',
      text: 'select hash, json, version, is_data from polyphony_flow_definitions where hash = any($1)',
      values: [missing],
    })
    for (const { hash, json, version, is_data: isData } of rows) {
      const definition: StoredDefinition = version === null ? { hash, json, isData } : { hash, json, isData, version }
      definitions.set(hash, definition)
      found.set(hash, definition)
    }
    return found
  }

  const definitionIn = (found: ReadonlyMap<string, StoredDefinition>, flowId: string, hash: string): StoredDefinition => {
    const definition = found.get(hash)
    if (definition) return definition
    throw new OrchestratorError('INTERNAL', `Flow ${flowId} has no stored definition ${hash}`, { details: { flowId, hash } })
  }

  const findFlow = createBatchedRead<string, StoredFlow | undefined>(async (flowIds) => {
    const { rows } = await pool.query<FlowRecord>({
      name: 'polyphony_flows_by_id',
      text: 'select * from polyphony_flows where id = any($1)',
      values: [flowIds],
    })
    const found = await loadDefinitions(rows.map((row) => row.definition_hash))
    const flows = new Map(rows.map((row) => [row.id, fromFlowRecord(row, definitionIn(found, row.id, row.definition_hash))]))
    return (flowId) => flows.get(flowId)
  })

  return {
    find: guarded(async (flowId: string) => (canBeFlowId(flowId) ? findFlow(flowId) : undefined)),

    list: guarded(async ({ threadId, status, type, limit, offset, sortBy, sortOrder }: ListFlowsQuery) => {
      const direction = sortOrder === 'ASC' ? 'ASC' : 'DESC'
      const column = SORT_COLUMNS[sortBy] ?? SORT_COLUMNS.createdAt
      const rows = await dataSource.getRepository(FlowEntity).find({
        where: { threadId, ...present({ status, flowType: type }) },
        // Elsewhere nothing is absent, and an index cannot be read backwards for nulls that come last.
        order: { [column]: column === 'completedAt' ? { direction, nulls: 'LAST' } : direction, id: direction },
        take: limit,
        skip: offset,
      })
      const found = await loadDefinitions(rows.map((row) => row.definitionHash))
      return rows.map((row) => fromFlowRow(row, definitionIn(found, row.id, row.definitionHash)))
    }),

    delete: guarded(async (flowId: string) => {
      if (!canBeFlowId(flowId)) return 'missing'
      const { rows } = await pool.query<{ deleted: string; found: string }>(DELETE_SQL, [flowId])
      if (Number(rows[0]?.deleted) > 0) return 'deleted'
      return Number(rows[0]?.found) > 0 ? 'running' : 'missing'
    }),

    stepResults: guarded(async (flowId: string, options: { readonly samples?: boolean } = {}) => {
      if (!canBeFlowId(flowId)) return []
      const { rows } = await pool.query<StepResultRecord>({
        name: 'polyphony_step_results',
        text: STEP_RESULTS_SQL,
        values: [flowId, options.samples ?? false],
      })
      return rows.map((row) => fromStepResultRecord(flowId, row))
    }),
  }
}
