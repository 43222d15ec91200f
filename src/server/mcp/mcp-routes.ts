import { randomUUID } from 'node:crypto'
import { createMcpHandler } from '@modelcontextprotocol/server'
import type { FastifyRequest } from 'fastify'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Authenticator } from '../access/authenticator.ts'
import { callerOf, type Routes } from '../requests/routes.ts'
import type { ServerDeps } from '../server-deps.ts'
import { type InFlight, onceClosed } from '../streaming/in-flight.ts'
import { createCancellations, readMessage, withoutCancellations } from './cancellations.ts'
import { createToolServer } from './tool-server.ts'

export interface McpRoutesDeps {
  readonly authenticator: Pick<Authenticator, 'isCurrent'>
  readonly inFlight: Pick<InFlight, 'open'>
  /** Version of Polyphony, as clients receive it. */
  readonly version: string
}

/**
 * Maximum number of messages per request. Only clients of revision 2025-03-26 send several in one, and every one of
 * them is a call.
 */
const MAX_BATCH = 20
const SESSION_HEADER = 'mcp-session-id'
/** Milliseconds between comments that keep proxies from closing the stream of a tool that waits. */
const KEEP_ALIVE_INTERVAL_MS = 15_000

/**
 * Flows as tools of the Model Context Protocol (MCP), over Streamable HTTP. Every request has a server and a transport
 * of its own, so that any process can answer it and no answer reaches another client. The hooks of the app have
 * checked origin, caller and rate before.
 */
export const mcpRoutes =
  (deps: ServerDeps, { authenticator, inFlight, version }: McpRoutesDeps): Routes =>
  async (app) => {
    const cancellations = createCancellations()
    // The app closes a connection on which nothing was sent for `slowAfterMs`.
    const keepAliveMs = Math.min(KEEP_ALIVE_INTERVAL_MS, deps.config.server.sockets.slowAfterMs / 2)

    app.route({
      // GET and DELETE would act on sessions, which this server does not keep: they answer 405, as every other method
      // does.
      method: 'POST',
      url: '/mcp',
      schema: { hide: true },
      config: { scope: 'read' },
      async handler(request, reply) {
        const caller = callerOf(request)
        if (Array.isArray(request.body) && request.body.length > MAX_BATCH) {
          throw new OrchestratorError('INPUT_INVALID', `expected at most ${MAX_BATCH} messages, found ${request.body.length}`)
        }
        const message = readMessage(request.body)
        const { clientGone, respondNow, release } = inFlight.open(reply.raw, { caller })
        onceClosed(reply.raw, release)
        if (message) cancellations.handle(message, { caller, session: request.headers[SESSION_HEADER] }, clientGone)
        const handler = createMcpHandler(
          () =>
            createToolServer({
              open: async () => deps,
              caller,
              clientGone: clientGone.signal,
              respondNow,
              isCurrent: () => authenticator.isCurrent(caller),
              version,
              requestId: request.id,
              onBug: (err) => request.log.error({ err }, 'a tool call failed because of a bug'),
            }),
          // Only streams carry the comments that keep a connection open.
          {
            responseMode: 'sse',
            keepAliveMs,
            onerror: () => request.log.debug('a message was refused because it does not conform to the protocol'),
          },
        )
        const response = await handler.fetch(toWebRequest(request, clientGone.signal), {
          parsedBody: withoutCancellations(request.body),
        })
        // The server stores nothing under this id. Clients send it back, so that each client of a caller cancels only
        // its own calls.
        if (message?.method === 'initialize' && response.ok) reply.header(SESSION_HEADER, randomUUID())
        return reply.send(response)
      },
    })
  }

/** The request with the headers that the protocol needs. Keys and cookies are left out. */
function toWebRequest({ method, headers }: FastifyRequest, signal: AbortSignal): Request {
  const kept = Object.entries(headers).flatMap(([name, value]): [string, string][] =>
    typeof value === 'string' && (name === 'accept' || name === 'content-type' || name.startsWith('mcp-')) ? [[name, value]] : [],
  )
  return new Request('http://localhost/mcp', { method, headers: kept, signal })
}
