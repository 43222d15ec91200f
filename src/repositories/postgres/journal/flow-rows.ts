import { FLOW_SCHEMA_VERSION, type FlowStart } from '../../../domain/execution/flow.ts'
import { fieldsOf, type MarkedProperty, markedFields, unmarkedFields } from '../../columns/column.ts'
import { FLOW_COLUMNS, FLOW_PROPERTIES, type FlowRow } from '../../columns/flow-columns.ts'
import {
  type FlowInsert,
  type FlowOutcome,
  INPUT_START_CHARACTERS,
  type ListedFlow,
  type StoredDefinition,
  type StoredFlow,
  type StoredFlowResult,
} from '../../repository.ts'
import { selectList } from '../column-sql.ts'
import { type JsonRow, pickNonNull } from '../rows.ts'

export const CREATE_FIELDS = markedFields(FLOW_COLUMNS, 'create')
export const CLAIM_FIELDS = markedFields(FLOW_COLUMNS, 'claim')
export const FINISH_FIELDS = markedFields(FLOW_COLUMNS, 'finish')

const LISTED_FIELDS = unmarkedFields(FLOW_COLUMNS, 'unlisted')
const LISTED_PROPERTIES = LISTED_FIELDS.map(({ property }) => property).filter((property) => property !== 'definitionHash')

/** The columns of a `SelectedFlow`. */
export const FLOW_SELECTION = selectList(fieldsOf(FLOW_COLUMNS))

export type SelectedFlow = FlowRow

/** The columns of a `ListedFlowRow`. */
export const LISTED_FLOW_SELECTION = `${selectList(LISTED_FIELDS)}, left(input, ${INPUT_START_CHARACTERS}) as "inputStart"`

/** A row of a list of flows: without the columns that are texts without bound. */
export type ListedFlowRow = Pick<FlowRow, (typeof LISTED_FIELDS)[number]['property']> & { readonly inputStart: string | null }

export const fromListedFlowRow = (row: ListedFlowRow, definition: StoredDefinition): ListedFlow =>
  pickNonNull(row, LISTED_PROPERTIES, { definition, ...(row.inputStart !== null && { inputStart: row.inputStart }) })

export function fromFlowRow(row: SelectedFlow, definition: StoredDefinition): StoredFlow {
  const newer = row.schemaVersion > FLOW_SCHEMA_VERSION && { newerVersion: row.schemaVersion }
  const flow = pickNonNull(row, FLOW_PROPERTIES, { definition, ...newer })
  return flow.result && row.resultOutput !== null ? { ...flow, result: { ...flow.result, output: row.resultOutput } } : flow
}

/** The columns of a flow that one kind of write sets. */
type FlowJson<Mark extends 'create' | 'claim' | 'finish'> = JsonRow<
  typeof FLOW_COLUMNS,
  FlowRow,
  MarkedProperty<typeof FLOW_COLUMNS, Mark>
>

// The conversions to JSON are written out: a loop over the table of columns takes twice the time (measured 2026-11).
// The compiler reports a column that is missing.

export const toFlowJson = (flow: FlowInsert): FlowJson<'create'> => ({
  id: flow.id,
  thread_id: flow.threadId,
  user_id: flow.userId,
  name: flow.name,
  description: flow.description,
  flow_type: flow.flowType,
  definition_hash: flow.definition.hash,
  parent_flow_id: flow.parentFlowId,
  created_at: flow.createdAt,
  schema_version: flow.schemaVersion ?? FLOW_SCHEMA_VERSION,
  simulated: flow.simulated,
  input: flow.input,
  metadata: flow.metadata,
  attachments: flow.attachments,
})

export interface ClaimJson extends FlowJson<'claim'> {
  readonly flow_id: string
  readonly allowed: FlowStart['from']
  readonly epoch?: number
  readonly requires?: string
  readonly job_id?: string
}

/** Without an owner the flow is queued. */
export const toClaimJson = (claim: FlowStart, ownerId?: string, jobId?: string): ClaimJson => ({
  flow_id: claim.flowId,
  allowed: claim.from,
  epoch: claim.epoch,
  requires: claim.requires,
  job_id: jobId,
  owner_id: ownerId,
  started_at: claim.startedAt,
  input: claim.input,
  metadata: claim.metadata,
  attachments: claim.attachments,
  run_options: claim.runOptions,
})

export interface OutcomeJson extends Omit<FlowJson<'finish'>, 'result'> {
  readonly result: StoredFlowResult | undefined
  readonly flow_id: string
  readonly epoch: number
}

export const toOutcomeJson = (flowId: string, epoch: number, { result, ...outcome }: FlowOutcome): OutcomeJson => ({
  flow_id: flowId,
  epoch,
  simulated: outcome.simulated,
  completed_at: outcome.completedAt,
  status: outcome.status,
  // JSON leaves out undefined properties.
  result: result && { ...result, output: undefined },
  result_output: result?.output,
  error: outcome.error,
})
