import { EntitySchema } from 'typeorm'
import type { FlowStatus, FlowType } from '../../../domain/vocabulary.ts'
import type { ErrorInfo } from '../../../errors/orchestrator-error.ts'
import type { StoredFlowResult, StoredRunOptions } from '../../repository.ts'
import { storableText } from '../storable.ts'

/** The layout of a flow's rows that this version writes; raised when their meaning changes. */
export const FLOW_SCHEMA_VERSION = 1

export interface FlowRow {
  readonly id: string
  readonly threadId: string
  readonly userId: string
  readonly name: string
  readonly description: string | null
  readonly flowType: FlowType
  readonly definitionHash: string
  readonly parentFlowId: string | null
  readonly createdAt: Date
  readonly schemaVersion: number
  readonly simulated: boolean
  readonly ownerEpoch: number
  readonly startedAt: Date | null
  readonly completedAt: Date | null
  readonly status: FlowStatus
  readonly ownerId: string | null
  readonly input: string | null
  readonly metadata: Readonly<Record<string, unknown>> | null
  readonly result: Omit<StoredFlowResult, 'output'> | null
  readonly resultOutput: string | null
  readonly error: ErrorInfo | null
  readonly runOptions: StoredRunOptions | null
}

/**
 * The run state of a flow (S4-130). What changes while it runs stands last: Postgres logs only the middle part of a row that an update changed.
 * No index holds any of it and pages are filled to a third at first, so that updates stay on their page and write no index (`flow-claim.ts` finds running flows).
 * Tables that grow with every step have no foreign key to it, because its check would lock and log this row once per insert.
 */
export const FlowEntity = new EntitySchema<FlowRow>({
  name: 'PolyphonyFlow',
  tableName: 'polyphony_flows',
  columns: {
    id: { type: 'uuid', primary: true, primaryKeyConstraintName: 'polyphony_flows_pkey' },
    threadId: { type: 'text', name: 'thread_id', transformer: storableText },
    userId: { type: 'text', name: 'user_id' },
    name: { type: 'text' },
    description: { type: 'text', nullable: true },
    flowType: { type: 'text', name: 'flow_type' },
    definitionHash: { type: 'text', name: 'definition_hash' },
    parentFlowId: { type: 'uuid', name: 'parent_flow_id', nullable: true },
    createdAt: { type: 'timestamptz', name: 'created_at' },
    schemaVersion: { type: 'smallint', name: 'schema_version', default: FLOW_SCHEMA_VERSION },
    simulated: { type: 'boolean' },
    ownerEpoch: { type: 'integer', name: 'owner_epoch', default: 0 },
    startedAt: { type: 'timestamptz', name: 'started_at', nullable: true },
    completedAt: { type: 'timestamptz', name: 'completed_at', nullable: true },
    status: { type: 'text', default: 'PENDING' },
    ownerId: { type: 'text', name: 'owner_id', nullable: true },
    input: { type: 'text', nullable: true },
    metadata: { type: 'json', nullable: true },
    result: { type: 'json', nullable: true },
    error: { type: 'json', nullable: true },
    runOptions: { type: 'json', name: 'run_options', nullable: true },
    // Apart from `result`, because lists show the figures and never the text.
    resultOutput: { type: 'text', name: 'result_output', nullable: true },
  },
  indices: [
    { name: 'polyphony_flows_by_thread', columns: ['threadId', 'createdAt'] },
    { name: 'polyphony_flows_by_user', columns: ['userId', 'createdAt', 'id'] },
    { name: 'polyphony_flows_by_name', columns: ['userId', 'name', 'createdAt', 'id'] },
  ],
})
