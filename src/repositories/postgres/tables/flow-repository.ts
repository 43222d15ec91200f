import { LRUCache } from 'lru-cache'
import type { Pool } from 'pg'
import { toStorableText } from '../../../domain/storable-text.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { fieldsOf } from '../../columns/column.ts'
import { DEFINITION_COLUMNS, type DefinitionRow } from '../../columns/flow-columns.ts'
import type { FlowRepository, ListFlowsQuery, NamedFlow, StepState, StoredDefinition, StoredFlow } from '../../repository.ts'
import { createBatchedRead } from '../batched-read.ts'
import { selectList } from '../column-sql.ts'
import { guarded } from '../database-errors.ts'
import { FLOW_SELECTION, fromFlowRow, fromListedFlowRow, type ListedFlowRow, type SelectedFlow } from '../journal/flow-rows.ts'
import { fromIntentRow, INTENTS_SQL, type SelectedIntent } from '../journal/intent-rows.ts'
import { fromStepResultRow, type SelectedStepResult, STEP_RESULTS_SQL } from '../journal/step-result-rows.ts'
import { fromTurnRow, type SelectedTurn, TURNS_SQL } from '../journal/turn-rows.ts'
import { pickNonNull } from '../rows.ts'
import { canBeFlowId } from '../storable.ts'
import { flowListSql, NAMES_SQL, NEWEST_BY_NAME_SQL, STEP_STATES_SQL } from './flow-list-sql.ts'

const DEFINITION_CACHE_BYTES = 32 * 1024 * 1024

const DEFINITION_FIELDS = fieldsOf(DEFINITION_COLUMNS)
const DEFINITION_PROPERTIES = DEFINITION_FIELDS.map(({ property }) => property)
const DEFINITIONS_SQL = `select ${selectList(DEFINITION_FIELDS)} from polyphony_flow_definitions where hash = any($1)`

const DELETE_SQL = `with gone as (delete from polyphony_flows where id = $1 and status <> 'RUNNING' returning id),
results as (delete from polyphony_step_results where flow_id in (select id from gone)),
attempts as (delete from polyphony_step_attempts where flow_id in (select id from gone)),
updates as (delete from polyphony_flow_updates where flow_id in (select id from gone)),
intents as (delete from polyphony_call_intents where flow_id in (select id from gone)),
turns as (delete from polyphony_step_turns where flow_id in (select id from gone)),
claims as (delete from polyphony_flow_claims where flow_id in (select id from gone)),
waits as (delete from polyphony_flow_waits where flow_id in (select id from gone))
select (select count(*) from gone) as deleted, (select count(*) from polyphony_flows where id = $1) as found`

// No index holds the state of a flow: the range of ids bounds the rows that are read.
const INTERRUPTED_SQL = `select id from polyphony_flows
where id >= $1 and status = 'FAILED' and run_options is not null and run_options->>'resumeAfterCrash' is null
  and error->>'code' = 'FLOW_INTERRUPTED' order by id limit $2`

export function createFlowRepository(pool: Pool): FlowRepository {
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
    const { rows } = await pool.query<DefinitionRow>({
      name: 'polyphony_definitions',
      text: DEFINITIONS_SQL,
      values: [missing],
    })
    for (const row of rows) {
      const definition = pickNonNull(row, DEFINITION_PROPERTIES, {})
      definitions.set(row.hash, definition)
      found.set(row.hash, definition)
    }
    return found
  }

  const definitionIn = (found: ReadonlyMap<string, StoredDefinition>, flowId: string, hash: string): StoredDefinition => {
    const definition = found.get(hash)
    if (definition) return definition
    throw new OrchestratorError('INTERNAL', `Flow ${flowId} has no stored definition ${hash}`, { details: { flowId, hash } })
  }

  async function withDefinitions<Row extends Pick<SelectedFlow, 'id' | 'definitionHash'>, Flow>(
    rows: readonly Row[],
    toFlow: (row: Row, definition: StoredDefinition) => Flow,
  ): Promise<readonly Flow[]> {
    const found = await loadDefinitions(rows.map((row) => row.definitionHash))
    return rows.map((row) => toFlow(row, definitionIn(found, row.id, row.definitionHash)))
  }

  const findFlow = createBatchedRead<string, StoredFlow | undefined>(async (flowIds) => {
    const { rows } = await pool.query<SelectedFlow>({
      name: 'polyphony_flows_by_id',
      text: `select ${FLOW_SELECTION} from polyphony_flows where id = any($1)`,
      values: [flowIds],
    })
    const flows = new Map((await withDefinitions(rows, fromFlowRow)).map((flow) => [flow.id, flow]))
    return (flowId) => flows.get(flowId)
  })

  return {
    find: guarded(async (flowId: string) => (canBeFlowId(flowId) ? findFlow(flowId) : undefined)),

    list: guarded(async (query: ListFlowsQuery) => {
      const statement = flowListSql(query)
      if (!statement) return []
      const { rows } = await pool.query<ListedFlowRow>(statement.text, [...statement.values])
      return withDefinitions(rows, fromListedFlowRow)
    }),

    findNewestByName: guarded(async (userId: string, name: string, notInThreads: readonly string[] = []) => {
      const { rows } = await pool.query<SelectedFlow>({
        name: 'polyphony_newest_by_name',
        text: NEWEST_BY_NAME_SQL,
        values: [toStorableText(userId), toStorableText(name), notInThreads.map(toStorableText)],
      })
      return (await withDefinitions(rows, fromFlowRow))[0]
    }),

    namesOf: guarded(async (userId: string, limit: number) => {
      const { rows } = await pool.query<Omit<NamedFlow, 'flowId'> & { readonly id: string }>({
        name: 'polyphony_flow_names',
        text: NAMES_SQL,
        values: [toStorableText(userId), limit],
      })
      return rows.map(({ id: flowId, ...flow }) => ({ ...flow, flowId }))
    }),

    findInterrupted: guarded(async (fromId: string, limit: number) => {
      if (!canBeFlowId(fromId)) return []
      const { rows } = await pool.query<Pick<SelectedFlow, 'id'>>(INTERRUPTED_SQL, [fromId, limit])
      return rows.map(({ id }) => id)
    }),

    delete: guarded(async (flowId: string) => {
      if (!canBeFlowId(flowId)) return 'missing'
      const { rows } = await pool.query<{ deleted: string; found: string }>(DELETE_SQL, [flowId])
      if (Number(rows[0]?.deleted) > 0) return 'deleted'
      return Number(rows[0]?.found) > 0 ? 'running' : 'missing'
    }),

    stepResults: guarded(
      async (flowId: string, options: { readonly samples?: boolean; readonly paths?: readonly string[] } = {}) => {
        if (!canBeFlowId(flowId)) return []
        const { rows } = await pool.query<SelectedStepResult>({
          name: 'polyphony_step_results',
          text: STEP_RESULTS_SQL,
          values: [flowId, options.samples ?? false, options.paths?.map(toStorableText) ?? null],
        })
        return rows.map((row) => fromStepResultRow(flowId, row))
      },
    ),

    intents: guarded(async (flowId: string) => {
      if (!canBeFlowId(flowId)) return []
      const { rows } = await pool.query<SelectedIntent>({ name: 'polyphony_intents', text: INTENTS_SQL, values: [flowId] })
      return rows.map(fromIntentRow)
    }),

    turns: guarded(async (flowId: string) => {
      if (!canBeFlowId(flowId)) return []
      const { rows } = await pool.query<SelectedTurn>({ name: 'polyphony_turns', text: TURNS_SQL, values: [flowId] })
      return rows.map(fromTurnRow)
    }),

    stepStates: guarded(async (flowIds: readonly string[]) => {
      const states = new Map<string, StepState[]>(flowIds.map((flowId) => [flowId, []]))
      const { rows } = await pool.query<{ flow_id: string; path: string; status: StepState['status'] }>({
        name: 'polyphony_step_states',
        text: STEP_STATES_SQL,
        values: [flowIds.filter(canBeFlowId)],
      })
      for (const { flow_id: flowId, path, status } of rows) states.get(flowId)?.push({ path, status })
      return states
    }),
  }
}
