import { ticket } from '../../../protocol/socket.ts'
import { issueTicket } from '../../access/tickets.ts'
import { callerOf, type Routes } from '../../requests/routes.ts'
import type { ServerDeps } from '../../server-deps.ts'

/** Tickets with which browsers open WebSockets. */
export const ticketRoutes =
  ({ tickets }: ServerDeps): Routes =>
  async (app) => {
    app.post(
      '/tickets',
      {
        schema: {
          operationId: 'createTicket',
          tags: ['caller'],
          summary: 'Create a ticket that opens one WebSocket within 30 seconds: `new WebSocket(url, protocols)`',
          response: { 201: ticket },
        },
        config: { scope: 'read' },
      },
      async (request, reply) => {
        reply.code(201).header('cache-control', 'no-store')
        return issueTicket(tickets, callerOf(request))
      },
    )
  }
