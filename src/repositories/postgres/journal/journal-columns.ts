import { DELIVERY_COLUMNS, NEW_DELIVERY_FIELDS } from '../../columns/background-columns.ts'
import { fieldsOf } from '../../columns/column.ts'
import { MESSAGE_COLUMNS } from '../../columns/conversation-columns.ts'
import { DEFINITION_COLUMNS, FLOW_COLUMNS, UPDATE_BATCH_COLUMNS } from '../../columns/flow-columns.ts'
import { INTENT_COLUMNS } from '../../columns/intent-columns.ts'
import { ATTEMPT_COLUMNS, STEP_KEY_COLUMNS, STEP_RESULT_COLUMNS } from '../../columns/step-columns.ts'
import { TURN_COLUMNS } from '../../columns/turn-columns.ts'
import { WAIT_COLUMNS } from '../../columns/wait-columns.ts'
import { type JsonColumns, jsonColumns, jsonColumnsOf, keyColumns } from '../column-sql.ts'
import { CLAIM_FIELDS, CREATE_FIELDS, FINISH_FIELDS } from './flow-rows.ts'

/**
 * Kinds of writes that one statement may carry, as bits: each combination that occurs is its own prepared statement.
 */
export const JOURNAL_PART = {
  definitions: 1,
  flows: 2,
  claims: 4,
  entries: 8,
  outcomes: 16,
  results: 32,
  updates: 64,
  messages: 128,
  enqueues: 256,
  intents: 512,
  deliveries: 2048,
  waits: 1024,
  pauses: 4096,
  turns: 8192,
  closed: 16384,
} as const
export type JournalPart = keyof typeof JOURNAL_PART
export const JOURNAL_STATEMENTS = [
  'definitions',
  'flows',
  'claims',
  'enqueues',
  'entries',
  'outcomes',
  'results',
  'turns',
  'closed',
  'updates',
  'messages',
  'intents',
  'deliveries',
  'waits',
  'pauses',
] as const

// Messages that flows add to their thread have no attachments.
const MESSAGE_FIELDS = fieldsOf(MESSAGE_COLUMNS).filter(({ property }) => property !== 'attachments')

/** A table that the journal inserts into. */
export interface JournalTable {
  readonly name: string
  readonly columns: JsonColumns
  readonly key: JsonColumns
}

export const DEFINITIONS: JournalTable = {
  name: 'polyphony_flow_definitions',
  columns: jsonColumns(DEFINITION_COLUMNS),
  key: keyColumns(DEFINITION_COLUMNS),
}

export const FLOWS: JournalTable = {
  name: 'polyphony_flows',
  columns: jsonColumnsOf(FLOW_COLUMNS, CREATE_FIELDS),
  key: keyColumns(FLOW_COLUMNS),
}

export const RESULTS: JournalTable = {
  name: 'polyphony_step_results',
  columns: jsonColumns(STEP_RESULT_COLUMNS),
  key: keyColumns(STEP_RESULT_COLUMNS),
}

/** Columns of an attempt in the JSON of its result, without the key of the result. */
export const NESTED_ATTEMPT_COLUMNS = jsonColumns(ATTEMPT_COLUMNS)

export const ATTEMPTS: JournalTable = {
  name: 'polyphony_step_attempts',
  columns: jsonColumns({ ...STEP_KEY_COLUMNS, ...ATTEMPT_COLUMNS }),
  key: keyColumns({ ...STEP_KEY_COLUMNS, ...ATTEMPT_COLUMNS }),
}

export const UPDATES: JournalTable = {
  name: 'polyphony_flow_updates',
  columns: jsonColumns(UPDATE_BATCH_COLUMNS),
  key: keyColumns(UPDATE_BATCH_COLUMNS),
}

export const INTENTS: JournalTable = {
  name: 'polyphony_call_intents',
  columns: jsonColumns(INTENT_COLUMNS),
  key: keyColumns(INTENT_COLUMNS),
}

export const TURNS: JournalTable = {
  name: 'polyphony_step_turns',
  columns: jsonColumns(TURN_COLUMNS),
  key: keyColumns(TURN_COLUMNS),
}

export const MESSAGES: JournalTable = {
  name: 'polyphony_messages',
  columns: jsonColumnsOf(MESSAGE_COLUMNS, MESSAGE_FIELDS),
  key: keyColumns(MESSAGE_COLUMNS),
}

export const DELIVERIES: JournalTable = {
  name: 'polyphony_webhook_deliveries',
  columns: jsonColumnsOf(DELIVERY_COLUMNS, NEW_DELIVERY_FIELDS),
  key: keyColumns(DELIVERY_COLUMNS),
}

/** Columns of a wait that a running flow writes; a decision sets the others. */
const OPEN_WAIT_FIELDS = fieldsOf(WAIT_COLUMNS).filter(({ property }) => !/^deci/.test(property))

export const WAITS: JournalTable = {
  name: 'polyphony_flow_waits',
  columns: jsonColumnsOf(WAIT_COLUMNS, OPEN_WAIT_FIELDS),
  key: keyColumns(WAIT_COLUMNS),
}

const CLAIM_COLUMNS: JsonColumns = {
  flow_id: 'uuid',
  allowed: 'text[]',
  epoch: 'int',
  requires: 'text',
  job_id: 'text',
  ...jsonColumnsOf(FLOW_COLUMNS, CLAIM_FIELDS),
}

/** Columns of the JSON that is sent for each part. Rows of `results` and `turns` carry their attempts. */
export const PART_COLUMNS: Readonly<Record<JournalPart, JsonColumns>> = {
  definitions: DEFINITIONS.columns,
  flows: FLOWS.columns,
  claims: CLAIM_COLUMNS,
  enqueues: CLAIM_COLUMNS,
  entries: { flow_id: 'uuid', epoch: 'int' },
  outcomes: { flow_id: 'uuid', epoch: 'int', ...jsonColumnsOf(FLOW_COLUMNS, FINISH_FIELDS) },
  results: { ...RESULTS.columns, attempts: 'json' },
  turns: { ...TURNS.columns, attempts: 'json' },
  closed: { flow_id: 'uuid', path: 'text', iteration: 'int' },
  updates: UPDATES.columns,
  messages: { flow_id: 'uuid', ...MESSAGES.columns },
  intents: INTENTS.columns,
  deliveries: DELIVERIES.columns,
  waits: WAITS.columns,
  pauses: { flow_id: 'uuid', wake_at: 'timestamptz' },
}
