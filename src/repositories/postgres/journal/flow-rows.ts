import type { ListedFlow, StoredDefinition, StoredFlow } from '../../repository.ts'
import type { FlowRow } from '../entities/flow.ts'
import { present } from '../storable.ts'

/** A flow's row as plain SQL returns it. */
export interface RawFlowRow {
  readonly id: string
  readonly thread_id: string
  readonly user_id: string
  readonly name: string
  readonly description: string | null
  readonly flow_type: FlowRow['flowType']
  readonly definition_hash: string
  readonly parent_flow_id: string | null
  readonly created_at: Date
  readonly schema_version: number
  readonly simulated: boolean
  readonly owner_epoch: number
  readonly started_at: Date | null
  readonly completed_at: Date | null
  readonly status: FlowRow['status']
  readonly owner_id: string | null
  readonly input: string | null
  readonly metadata: FlowRow['metadata']
  readonly result: FlowRow['result']
  readonly error: FlowRow['error']
  readonly run_options: FlowRow['runOptions']
  readonly result_output: string | null
}

/** A row of a list of flows. */
export interface ListedFlowRecord
  extends Omit<RawFlowRow, 'input' | 'metadata' | 'run_options' | 'result_output' | 'schema_version'> {
  readonly input_start: string | null
}

export function fromListedFlowRecord(
  { input_start: inputStart, ...row }: ListedFlowRecord,
  definition: StoredDefinition,
): ListedFlow {
  const { input, metadata, runOptions, ...flow } = fromFlowRecord(
    { ...row, input: null, metadata: null, run_options: null, result_output: null, schema_version: 0 },
    definition,
  )
  return { ...flow, ...present({ inputStart }) }
}

export const fromFlowRecord = (row: RawFlowRow, definition: StoredDefinition): StoredFlow =>
  fromFlowRow(
    {
      id: row.id,
      threadId: row.thread_id,
      userId: row.user_id,
      name: row.name,
      description: row.description,
      flowType: row.flow_type,
      definitionHash: row.definition_hash,
      parentFlowId: row.parent_flow_id,
      createdAt: row.created_at,
      schemaVersion: row.schema_version,
      simulated: row.simulated,
      ownerEpoch: row.owner_epoch,
      startedAt: row.started_at,
      completedAt: row.completed_at,
      status: row.status,
      ownerId: row.owner_id,
      input: row.input,
      metadata: row.metadata,
      result: row.result,
      error: row.error,
      runOptions: row.run_options,
      resultOutput: row.result_output,
    },
    definition,
  )

export function fromFlowRow(row: FlowRow, definition: StoredDefinition): StoredFlow {
  const { id, threadId, userId, name, flowType, createdAt, status, ownerEpoch, simulated } = row
  const { description, parentFlowId, startedAt, completedAt, ownerId, input, metadata, error, runOptions } = row
  const result = row.result && { ...row.result, ...present({ output: row.resultOutput }) }
  return {
    id,
    threadId,
    userId,
    name,
    flowType,
    definition,
    status,
    createdAt,
    ownerEpoch,
    simulated,
    ...present({ description, parentFlowId, startedAt, completedAt, ownerId, input, metadata, result, error, runOptions }),
  }
}
