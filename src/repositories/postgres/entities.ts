import { EntitySchema, type EntitySchemaColumnOptions, type EntitySchemaOptions } from 'typeorm'
import type { DataSharingPolicy } from '../../domain/users/sharing.ts'
import {
  DELIVERY_COLUMNS,
  type DeliveryRow,
  SCHEDULE_COLUMNS,
  type ScheduleRow,
  WEBHOOK_COLUMNS,
  type WebhookRow,
} from '../columns/background-columns.ts'
import {
  API_KEY_COLUMNS,
  type ApiKeyRow,
  IDEMPOTENCY_COLUMNS,
  type IdempotencyRow,
  TICKET_COLUMNS,
  type TicketRow,
} from '../columns/caller-columns.ts'
import type { Column, ColumnsOf } from '../columns/column.ts'
import {
  MESSAGE_COLUMNS,
  type MessageRow,
  PERMISSION_COLUMNS,
  type PermissionRow,
  POLICY_COLUMNS,
  THREAD_COLUMNS,
  type ThreadRow,
} from '../columns/conversation-columns.ts'
import { EVENT_COLUMNS, type EventRow } from '../columns/event-columns.ts'
import { FILE_COLUMNS, FILE_CONTENT_COLUMNS, type FileContentRow, type FileRow } from '../columns/file-columns.ts'
import {
  DEFINITION_COLUMNS,
  type DefinitionRow,
  FLOW_CLAIM_COLUMNS,
  FLOW_COLUMNS,
  type FlowClaimRow,
  type FlowRow,
  OWNER_COLUMNS,
  type OwnerRow,
  UPDATE_BATCH_COLUMNS,
  type UpdateBatchRow,
} from '../columns/flow-columns.ts'
import { INTENT_COLUMNS, type IntentRow } from '../columns/intent-columns.ts'
import { SERVICE_COLUMNS, type ServiceRow } from '../columns/service-columns.ts'
import {
  BUDGET_RESERVATION_COLUMNS,
  BUDGET_USAGE_COLUMNS,
  type BudgetReservationRow,
  type BudgetUsageRow,
  PROVIDER_RATE_COLUMNS,
  PROVIDER_SLOT_COLUMNS,
  type ProviderRateRow,
  type ProviderSlotRow,
  REQUEST_COUNT_COLUMNS,
  type RequestCountRow,
} from '../columns/spending-columns.ts'
import {
  ATTEMPT_COLUMNS,
  type AttemptRow,
  STEP_KEY_COLUMNS,
  STEP_RESULT_COLUMNS,
  type StepResultRow,
} from '../columns/step-columns.ts'
import { TURN_COLUMNS, type TurnRow } from '../columns/turn-columns.ts'
import { WAIT_COLUMNS, type WaitRow } from '../columns/wait-columns.ts'
import { storableJson, storableText } from './storable.ts'

type IndexedColumns<Row> = readonly Extract<keyof Row, string>[]

/**
 * Indices by the properties of their columns; one with a condition holds only the rows for which it is true. The name
 * of an index is `<table>_<key>`.
 */
type Indices<Row> = Readonly<
  Record<`by_${string}`, IndexedColumns<Row> | { readonly columns: IndexedColumns<Row>; readonly where: string }>
>

/** The description of a table that TypeORM needs, derived from its columns. */
function createEntity<Row extends object>(
  name: string,
  tableName: string,
  columns: ColumnsOf<Row>,
  indices: Indices<Row> = {},
): EntitySchema<Row> {
  const described: EntitySchemaOptions<Row>['columns'] = {}
  for (const property in columns) described[property] = toColumnOptions(columns[property], `${tableName}_pkey`)
  return new EntitySchema<Row>({
    name,
    tableName,
    columns: described,
    indices: Object.entries(indices).map(([suffix, index]) => ({
      name: `${tableName}_${suffix}`,
      columns: 'where' in index ? [...index.columns] : [...index],
      ...('where' in index && { where: index.where }),
    })),
  })
}

const toColumnOptions = (column: Column, primaryKeyConstraintName: string): EntitySchemaColumnOptions => ({
  name: column.name,
  type: column.type,
  array: column.array,
  nullable: column.nullable,
  default: column.default,
  transformer: column.storable && (column.type === 'json' ? storableJson : storableText),
  ...(column.primary && { primary: true, primaryKeyConstraintName }),
})

export const ApiKeyEntity = createEntity<ApiKeyRow>('PolyphonyApiKey', 'polyphony_api_keys', API_KEY_COLUMNS)

export const DataSharingPolicyEntity = createEntity<DataSharingPolicy>(
  'PolyphonyDataSharingPolicy',
  'polyphony_data_sharing_policies',
  POLICY_COLUMNS,
)

export const MessageEntity = createEntity<MessageRow>('PolyphonyMessage', 'polyphony_messages', MESSAGE_COLUMNS, {
  by_thread: ['threadId', 'createdAt', 'recorded'],
})

export const ThreadEntity = createEntity<ThreadRow>('PolyphonyThread', 'polyphony_threads', THREAD_COLUMNS, {
  by_user: ['userId', 'createdAt'],
})

export const ThreadPermissionEntity = createEntity<PermissionRow>(
  'PolyphonyThreadPermission',
  'polyphony_thread_permissions',
  PERMISSION_COLUMNS,
)

const FlowEntity = createEntity<FlowRow>('PolyphonyFlow', 'polyphony_flows', FLOW_COLUMNS, {
  by_thread: ['threadId', 'createdAt'],
  by_user: ['userId', 'createdAt', 'id'],
  by_name: ['userId', 'name', 'createdAt', 'id'],
})

/**
 * All tables of Polyphony by their entities. TypeORM migrates them and compares their schema; most are read and written
 * by plain SQL.
 */
export const ENTITIES = [
  ApiKeyEntity,
  DataSharingPolicyEntity,
  FlowEntity,
  MessageEntity,
  ThreadEntity,
  ThreadPermissionEntity,
  createEntity<FlowClaimRow>('PolyphonyFlowClaim', 'polyphony_flow_claims', FLOW_CLAIM_COLUMNS, {
    by_queue: { columns: ['userId', 'queuedAt'], where: 'owner_id IS NULL AND queued_at IS NOT NULL' },
    by_running_user: { columns: ['userId'], where: 'owner_id IS NOT NULL' },
    by_job: { columns: ['jobId'], where: 'job_id IS NOT NULL' },
    by_wake: { columns: ['wakeAt'], where: 'wake_at IS NOT NULL' },
  }),
  createEntity<IntentRow>('PolyphonyCallIntent', 'polyphony_call_intents', INTENT_COLUMNS),
  createEntity<DefinitionRow>('PolyphonyFlowDefinition', 'polyphony_flow_definitions', DEFINITION_COLUMNS),
  createEntity<UpdateBatchRow>('PolyphonyFlowUpdate', 'polyphony_flow_updates', UPDATE_BATCH_COLUMNS),
  createEntity<OwnerRow>('PolyphonyOwner', 'polyphony_owners', OWNER_COLUMNS),
  createEntity<StepResultRow>('PolyphonyStepResult', 'polyphony_step_results', STEP_RESULT_COLUMNS),
  createEntity<AttemptRow>('PolyphonyStepAttempt', 'polyphony_step_attempts', { ...STEP_KEY_COLUMNS, ...ATTEMPT_COLUMNS }),
  createEntity<TurnRow>('PolyphonyStepTurn', 'polyphony_step_turns', TURN_COLUMNS),
  createEntity<WaitRow>('PolyphonyFlowWait', 'polyphony_flow_waits', WAIT_COLUMNS, {
    by_thread: ['threadId', 'since'],
    by_event: ['event', 'correlation'],
  }),
  createEntity<FileRow>('PolyphonyFile', 'polyphony_files', FILE_COLUMNS, {
    by_user: ['userId', 'createdAt', 'id'],
    by_thread: { columns: ['threadId'], where: 'thread_id IS NOT NULL' },
    by_content: ['sha256'],
    by_age: ['createdAt'],
  }),
  createEntity<FileContentRow>('PolyphonyFileContent', 'polyphony_file_contents', FILE_CONTENT_COLUMNS),
  createEntity<TicketRow>('PolyphonyTicket', 'polyphony_tickets', TICKET_COLUMNS),
  createEntity<IdempotencyRow>('PolyphonyIdempotency', 'polyphony_idempotency', IDEMPOTENCY_COLUMNS, {
    by_age: ['createdAt'],
  }),
  createEntity<ScheduleRow>('PolyphonySchedule', 'polyphony_schedules', SCHEDULE_COLUMNS),
  createEntity<WebhookRow>('PolyphonyWebhook', 'polyphony_webhooks', WEBHOOK_COLUMNS),
  createEntity<DeliveryRow>('PolyphonyWebhookDelivery', 'polyphony_webhook_deliveries', DELIVERY_COLUMNS, {
    by_due: ['webhookId', 'dueAt'],
    by_end: ['settledAt'],
  }),
  createEntity<BudgetUsageRow>('PolyphonyBudgetUsage', 'polyphony_budget_usage', BUDGET_USAGE_COLUMNS),
  createEntity<BudgetReservationRow>('PolyphonyBudgetReservation', 'polyphony_budget_reservations', BUDGET_RESERVATION_COLUMNS),
  createEntity<ProviderRateRow>('PolyphonyProviderRate', 'polyphony_provider_rates', PROVIDER_RATE_COLUMNS),
  createEntity<ProviderSlotRow>('PolyphonyProviderSlot', 'polyphony_provider_slots', PROVIDER_SLOT_COLUMNS),
  createEntity<RequestCountRow>('PolyphonyRequestCount', 'polyphony_request_counts', REQUEST_COUNT_COLUMNS),
  createEntity<EventRow>('PolyphonyEvent', 'polyphony_events', EVENT_COLUMNS, {
    by_correlation: ['correlationId', 'seq'],
    by_subject: { columns: ['subject', 'seq'], where: 'subject IS NOT NULL' },
    by_user: ['userId', 'seq'],
    by_age: ['timestamp'],
  }),
  createEntity<ServiceRow>('PolyphonyService', 'polyphony_services', SERVICE_COLUMNS),
]
