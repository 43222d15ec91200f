import { createHash, randomBytes } from 'node:crypto'
import { SOCKET_PROTOCOL, TICKET_PREFIX } from '../../protocol/socket.ts'
import type { TicketRepository } from '../../repositories/repository.ts'
import { type Caller, storedCaller } from './caller.ts'

const VALID_FOR_MS = 30_000

const hashOf = (ticket: string): string => createHash('sha256').update(ticket).digest('hex')

/**
 * A ticket that opens one WebSocket for the caller, at any process that shares the database. Only its hash is stored.
 */
export async function issueTicket(tickets: TicketRepository, caller: Caller) {
  const ticket = randomBytes(32).toString('base64url')
  const expiresAt = new Date(Date.now() + VALID_FOR_MS)
  await tickets.create({ hash: hashOf(ticket), caller: { ...caller }, expiresAt })
  return { ticket, protocols: [SOCKET_PROTOCOL, `${TICKET_PREFIX}${ticket}`], expiresAt: expiresAt.toISOString() }
}

/** The caller that got the ticket; undefined when it was used before, has expired or is unknown. */
export async function redeemTicket(tickets: TicketRepository, ticket: string): Promise<Caller | undefined> {
  if (!/^[\w-]{43}$/.test(ticket)) return undefined
  const stored = storedCaller.safeParse(await tickets.redeem(hashOf(ticket), new Date()))
  return stored.success ? stored.data : undefined
}
