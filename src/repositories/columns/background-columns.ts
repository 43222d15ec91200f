import type { DeliveryAttempt, DeliveryKey, NewDelivery, StoredSchedule, StoredWebhook } from '../background-repositories.ts'
import { type ColumnsOf, fieldsOf, type RowOf } from './column.ts'

/** What is stored of a webhook beyond its configuration. */
export type WebhookRow = RowOf<StoredWebhook>

export const WEBHOOK_COLUMNS = {
  id: { name: 'id', type: 'uuid', primary: true },
  secret: { name: 'secret', type: 'text', nullable: true },
  disabledAt: { name: 'disabled_at', type: 'timestamptz', nullable: true },
} as const satisfies ColumnsOf<WebhookRow>

/** One event for one webhook. */
export interface DeliveryRow extends DeliveryKey, Omit<NewDelivery, 'facts'> {
  readonly facts: object
  readonly state: DeliveryAttempt['state']
  /** Attempts that were started. */
  readonly attempts: number
  /** The end of the lease of a claimed delivery, otherwise the next attempt; null after the last attempt. */
  readonly dueAt: Date | null
  /** When the delivery was delivered or failed. */
  readonly settledAt: Date | null
  readonly problem: string | null
}

/** Columns that an attempt changes come last, because Postgres logs only the changed part of an updated row. */
export const DELIVERY_COLUMNS = {
  webhookId: { name: 'webhook_id', type: 'uuid', primary: true },
  flowId: { name: 'flow_id', type: 'uuid', primary: true },
  seq: { name: 'seq', type: 'integer', primary: true },
  type: { name: 'type', type: 'text' },
  timestamp: { name: 'created_at', type: 'timestamptz' },
  facts: { name: 'facts', type: 'json' },
  state: { name: 'state', type: 'text', default: 'queued' },
  attempts: { name: 'attempts', type: 'integer', default: 0 },
  dueAt: { name: 'due_at', type: 'timestamptz', nullable: true },
  settledAt: { name: 'settled_at', type: 'timestamptz', nullable: true },
  problem: { name: 'problem', type: 'text', nullable: true },
} as const satisfies ColumnsOf<DeliveryRow>

/** Fields of a new delivery, which is due at once. */
export const NEW_DELIVERY_FIELDS = fieldsOf(DELIVERY_COLUMNS).filter(
  ({ property }) => !['state', 'attempts', 'settledAt', 'problem'].includes(property),
)

/** A schedule; `leaseUntil` is set while a process starts the flow of `nextAt`. */
export type ScheduleRow = RowOf<StoredSchedule> & { readonly leaseUntil: Date | null }

export const SCHEDULE_COLUMNS = {
  name: { name: 'name', type: 'text', primary: true, storable: true },
  timing: { name: 'timing', type: 'text' },
  nextAt: { name: 'next_at', type: 'timestamptz' },
  leaseUntil: { name: 'lease_until', type: 'timestamptz', nullable: true },
  lastAt: { name: 'last_at', type: 'timestamptz', nullable: true },
  lastFlowId: { name: 'last_flow_id', type: 'uuid', nullable: true },
  lastProblem: { name: 'last_problem', type: 'text', nullable: true, storable: true },
} as const satisfies ColumnsOf<ScheduleRow>
