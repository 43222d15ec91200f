import type { Owner, StoredDefinition, StoredFlow, StoredFlowResult } from '../repository.ts'
import { type Column, type ColumnsOf, fieldsOf, type RowOf } from './column.ts'

/**
 * A flow's row: the definition by its hash, and the output in a column of its own, because lists read only the figures.
 */
export type FlowRow = RowOf<
  Omit<StoredFlow, 'definition' | 'result' | 'newerVersion'> & {
    readonly definitionHash: string
    readonly schemaVersion: number
    readonly result?: Omit<StoredFlowResult, 'output'>
    readonly resultOutput?: string
  }
>

/** Which writes of the journal set a column of a flow. */
interface FlowColumn extends Column {
  /** Set when the flow is created. */
  readonly create?: true
  /** A claim sets the column to the value that it carries, or to null. */
  readonly claim?: true
  /** A claim without a value keeps the stored one. */
  readonly keep?: true
  /** A claim sets the column to null, because its value belongs to the previous execution. */
  readonly clear?: true
  /** The outcome sets the column. */
  readonly finish?: true
  /** Lists of flows omit the column. Must be set for texts of unlimited length. */
  readonly unlisted?: true
}

/**
 * Columns that change while a flow runs come last, because Postgres logs only the changed middle part of an updated
 * row. No index contains any of them, and only a third of each page is filled at first, so that updates stay on their
 * page and write no index (`FLOW_CLAIM_COLUMNS` finds running flows). Tables that grow with every step have no foreign
 * key to this one, because its check would lock and log this row once per insert.
 */
export const FLOW_COLUMNS = {
  id: { name: 'id', type: 'uuid', primary: true, create: true },
  threadId: { name: 'thread_id', type: 'text', create: true },
  userId: { name: 'user_id', type: 'text', create: true },
  name: { name: 'name', type: 'text', create: true },
  description: { name: 'description', type: 'text', nullable: true, create: true },
  flowType: { name: 'flow_type', type: 'text', create: true },
  definitionHash: { name: 'definition_hash', type: 'text', create: true },
  parentFlowId: { name: 'parent_flow_id', type: 'uuid', nullable: true, create: true },
  createdAt: { name: 'created_at', type: 'timestamptz', create: true },
  schemaVersion: { name: 'schema_version', type: 'smallint', default: 1, create: true, unlisted: true },
  simulated: { name: 'simulated', type: 'boolean', create: true, finish: true },
  ownerEpoch: { name: 'owner_epoch', type: 'integer', default: 0 },
  startedAt: { name: 'started_at', type: 'timestamptz', nullable: true, claim: true },
  completedAt: { name: 'completed_at', type: 'timestamptz', nullable: true, clear: true, finish: true },
  status: { name: 'status', type: 'text', default: 'PENDING', finish: true },
  ownerId: { name: 'owner_id', type: 'text', nullable: true, claim: true },
  input: { name: 'input', type: 'text', nullable: true, create: true, claim: true, keep: true, unlisted: true },
  metadata: { name: 'metadata', type: 'json', nullable: true, create: true, claim: true, keep: true, unlisted: true },
  attachments: { name: 'attachments', type: 'json', nullable: true, create: true, claim: true, keep: true, unlisted: true },
  result: { name: 'result', type: 'json', nullable: true, clear: true, finish: true },
  error: { name: 'error', type: 'json', nullable: true, clear: true, finish: true },
  runOptions: { name: 'run_options', type: 'json', nullable: true, claim: true, unlisted: true },
  resultOutput: { name: 'result_output', type: 'text', nullable: true, clear: true, finish: true, unlisted: true },
} as const satisfies ColumnsOf<FlowRow, FlowColumn>

/** Properties of a stored flow that its row holds under the same name; `result` lacks its output there. */
export const FLOW_PROPERTIES = fieldsOf(FLOW_COLUMNS)
  .map(({ property }) => property)
  .filter((property) => property !== 'definitionHash' && property !== 'schemaVersion' && property !== 'resultOutput')

/**
 * An active flow: running, queued or paused. Finds the flows of a dead owner and the next flow of the queue among any
 * number of finished ones. A flow with an owner runs; without one it is queued if it has `queuedAt`, otherwise paused.
 */
export interface FlowClaimRow {
  readonly flowId: string
  readonly ownerId: string | null
  readonly userId: string | null
  /** By the clock of the database, except for flows that were put back, which have the time of their creation. */
  readonly queuedAt: Date | null
  /** The job of the engine for which the flow was claimed the last time. */
  readonly jobId: string | null
  /** When a paused flow is due; without it the flow waits for a signal only. */
  readonly wakeAt: Date | null
  /** The definition with functions that a process must have registered to run the flow. */
  readonly requires: string | null
}

export const FLOW_CLAIM_COLUMNS = {
  flowId: { name: 'flow_id', type: 'uuid', primary: true },
  ownerId: { name: 'owner_id', type: 'text', nullable: true },
  userId: { name: 'user_id', type: 'text', nullable: true },
  queuedAt: { name: 'queued_at', type: 'timestamptz', nullable: true },
  jobId: { name: 'job_id', type: 'text', nullable: true },
  wakeAt: { name: 'wake_at', type: 'timestamptz', nullable: true },
  requires: { name: 'requires', type: 'text', nullable: true },
} as const satisfies ColumnsOf<FlowClaimRow>

/** A definition, once per content. Rows are never deleted: other processes remember which definitions are stored. */
export type DefinitionRow = RowOf<StoredDefinition>

export const DEFINITION_COLUMNS = {
  hash: { name: 'hash', type: 'text', primary: true },
  json: { name: 'json', type: 'text' },
  version: { name: 'version', type: 'text', nullable: true },
  isData: { name: 'is_data', type: 'boolean' },
} as const satisfies ColumnsOf<DefinitionRow>

/**
 * Updates of one flow that were written together. The key ends with the number of the last one, so that "all after n"
 * is one range of the index.
 */
export interface UpdateBatchRow {
  readonly flowId: string
  readonly lastSeq: number
  readonly batch: object
}

export const UPDATE_BATCH_COLUMNS = {
  flowId: { name: 'flow_id', type: 'uuid', primary: true },
  lastSeq: { name: 'last_seq', type: 'integer', primary: true },
  batch: { name: 'batch', type: 'json' },
} as const satisfies ColumnsOf<UpdateBatchRow>

/** A process that owns running flows; `beatAt` is on the clock of the database. */
export interface OwnerRow extends Owner {
  readonly beatAt: Date
}

export const OWNER_COLUMNS = {
  id: { name: 'id', type: 'text', primary: true },
  host: { name: 'host', type: 'text' },
  pid: { name: 'pid', type: 'integer' },
  beatAt: { name: 'beat_at', type: 'timestamptz', default: () => 'now()' },
} as const satisfies ColumnsOf<OwnerRow>
