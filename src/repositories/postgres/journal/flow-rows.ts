import { fieldsOf, markedFields, unmarkedFields } from '../../columns/column.ts'
import { FLOW_COLUMNS, FLOW_PROPERTIES, FLOW_SCHEMA_VERSION, type FlowRow } from '../../columns/flow-columns.ts'
import {
  type Claim,
  type FlowInsert,
  type FlowOutcome,
  INPUT_START_CHARACTERS,
  type ListedFlow,
  type StoredDefinition,
  type StoredFlow,
} from '../../repository.ts'
import { selectList } from '../column-sql.ts'
import { type JsonRow, pickNonNull, writeFields } from '../rows.ts'

export const CREATE_FIELDS = markedFields(FLOW_COLUMNS, 'create')
export const CLAIM_FIELDS = markedFields(FLOW_COLUMNS, 'claim')
export const FINISH_FIELDS = markedFields(FLOW_COLUMNS, 'finish')

const LISTED_FIELDS = unmarkedFields(FLOW_COLUMNS, 'unlisted')
const LISTED_PROPERTIES = LISTED_FIELDS.map(({ property }) => property).filter((property) => property !== 'definitionHash')

/** The columns of a `FlowRow`. */
export const FLOW_SELECTION = selectList(fieldsOf(FLOW_COLUMNS))

/** The columns of a `ListedFlowRow`. */
export const LISTED_FLOW_SELECTION = `${selectList(LISTED_FIELDS)}, left(input, ${INPUT_START_CHARACTERS}) as "inputStart"`

/** A row of a list of flows: without the columns that are texts without bound. */
export type ListedFlowRow = Pick<FlowRow, (typeof LISTED_FIELDS)[number]['property']> & { readonly inputStart: string | null }

export const fromListedFlowRow = (row: ListedFlowRow, definition: StoredDefinition): ListedFlow => ({
  ...pickNonNull(row, LISTED_PROPERTIES),
  ...(row.inputStart !== null && { inputStart: row.inputStart }),
  definition,
})

export function fromFlowRow(row: FlowRow, definition: StoredDefinition): StoredFlow {
  const flow = { ...pickNonNull(row, FLOW_PROPERTIES), definition }
  return flow.result && row.resultOutput !== null ? { ...flow, result: { ...flow.result, output: row.resultOutput } } : flow
}

export function toFlowRow(flow: FlowInsert): JsonRow {
  const row: JsonRow = {}
  const { hash: definitionHash } = flow.definition
  writeFields(row, CREATE_FIELDS, { ...flow, definitionHash, schemaVersion: FLOW_SCHEMA_VERSION })
  return row
}

export function toClaimRow(claim: Claim): JsonRow {
  const row: JsonRow = { flow_id: claim.flowId, allowed: claim.from }
  writeFields(row, CLAIM_FIELDS, claim)
  return row
}

export function toOutcomeRow(flowId: string, epoch: number, outcome: FlowOutcome): JsonRow {
  const row: JsonRow = { flow_id: flowId, epoch }
  // JSON leaves out what is undefined.
  const result = outcome.result && { ...outcome.result, output: undefined }
  writeFields(row, FINISH_FIELDS, { ...outcome, result, resultOutput: outcome.result?.output })
  return row
}
