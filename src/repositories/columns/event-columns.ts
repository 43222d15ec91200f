import type { PolyphonyEvent } from '../../domain/event.ts'
import type { ColumnsOf, RowOf } from './column.ts'

/** One event of the log. */
export type EventRow = RowOf<Omit<PolyphonyEvent<object | null>, 'replayed'>>

export const EVENT_COLUMNS = {
  seq: { name: 'seq', type: 'bigint', primary: true },
  id: { name: 'id', type: 'uuid' },
  type: { name: 'type', type: 'text' },
  source: { name: 'source', type: 'text' },
  subject: { name: 'subject', type: 'text', nullable: true },
  correlationId: { name: 'correlation_id', type: 'text', nullable: true },
  causationId: { name: 'causation_id', type: 'text', nullable: true },
  userId: { name: 'user_id', type: 'text', nullable: true },
  priority: { name: 'priority', type: 'text' },
  data: { name: 'data', type: 'json', nullable: true },
  timestamp: { name: 'created_at', type: 'timestamptz' },
} as const satisfies ColumnsOf<EventRow>
