import type { Pool } from 'pg'
import { toStorableJson, toStorableText } from '../../../domain/storable-text.ts'
import type { TicketRepository } from '../../repository.ts'
import { guarded } from '../database-errors.ts'

const CREATE_SQL = 'insert into polyphony_tickets (hash, caller, expires_at) values ($1, $2, $3)'

// Only one of several concurrent calls deletes the row, and only that call gets the caller.
const REDEEM_SQL = 'delete from polyphony_tickets where hash = $1 returning caller, expires_at'

export const createTicketRepository = (pool: Pool): TicketRepository => ({
  create: guarded(async ({ hash, caller, expiresAt }: Parameters<TicketRepository['create']>[0]) => {
    await pool.query({
      name: 'polyphony_ticket',
      text: CREATE_SQL,
      values: [toStorableText(hash), toStorableJson(caller), expiresAt],
    })
  }),

  redeem: guarded(async (hash: string, now: Date): Promise<unknown> => {
    const { rows } = await pool.query<{ caller: unknown; expires_at: Date }>({
      name: 'polyphony_redeem',
      text: REDEEM_SQL,
      values: [toStorableText(hash)],
    })
    const [ticket] = rows
    return ticket && ticket.expires_at > now ? ticket.caller : undefined
  }),

  prune: guarded(async (now: Date) => {
    const { rowCount } = await pool.query('delete from polyphony_tickets where expires_at <= $1', [now])
    return rowCount ?? 0
  }),
})
