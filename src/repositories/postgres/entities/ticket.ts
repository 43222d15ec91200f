import { EntitySchema } from 'typeorm'
import { storableJson } from '../storable.ts'

export interface TicketRow {
  readonly hash: string
  readonly caller: unknown
  readonly expiresAt: Date
}

export const TicketEntity = new EntitySchema<TicketRow>({
  name: 'PolyphonyTicket',
  tableName: 'polyphony_tickets',
  columns: {
    hash: { type: 'text', primary: true, primaryKeyConstraintName: 'polyphony_tickets_pkey' },
    caller: { type: 'json', transformer: storableJson },
    expiresAt: { type: 'timestamptz', name: 'expires_at' },
  },
})
