import { randomUUID } from 'node:crypto'
import { createMcpHandler } from '@modelcontextprotocol/server'
import type { FastifyRequest } from 'fastify'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Authenticator } from '../access/authenticator.ts'
import { callerOf, type Routes } from '../requests/routes.ts'
import type { ServerDeps } from '../server-deps.ts'
import { createCancellations, readMessage, withoutCancellations } from './cancellations.ts'
import { createExchanges } from './exchanges.ts'
import { createToolServer } from './tool-server.ts'

export interface McpRouteOptions {
  readonly authenticator: Pick<Authenticator, 'isCurrent'>
  /** Told to clients. */
  readonly version: string
  /** Milliseconds between looks at whether the caller of a waiting call still is one. */
  readonly recheckIntervalMs: number
}

/** Messages that one request may carry; only clients of 2025-03-26 send more than one, and every one of them is a call. */
const MAX_BATCH = 20
const SESSION_HEADER = 'mcp-session-id'
/** Milliseconds between comments that keep proxies from closing the stream of a tool that waits. */
const KEEP_ALIVE_MS = 15_000

/**
 * Flows as tools, over Streamable HTTP. Every request stands alone and gets a server and a transport of its own, so that any process can answer it and no
 * answer can reach another client. Who calls from where, and how often, was asked by the hooks of the app.
 */
export const mcpRoutes =
  (deps: ServerDeps, { authenticator, version, recheckIntervalMs }: McpRouteOptions): Routes =>
  async (app) => {
    const cancellations = createCancellations()
    const exchanges = createExchanges({ recheckIntervalMs, closeTimeoutMs: deps.config.server.closeTimeoutMs })
    app.addHook('preClose', exchanges.close)
    // The app cuts streams on which nothing moves for so long.
    const keepAliveMs = Math.min(KEEP_ALIVE_MS, deps.config.server.sockets.slowAfterMs / 2)

    app.route({
      // GET and DELETE are operations on sessions that live in a server. There are none: they are 405, as every other method is.
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
        const place = { caller, session: request.headers[SESSION_HEADER] }
        const isCurrent = () => authenticator.isCurrent(caller)
        const { clientGone, respondNow } = exchanges.open(reply.raw, isCurrent)
        if (message) cancellations.take(message, place, clientGone)
        const handler = createMcpHandler(
          () =>
            createToolServer({
              open: async () => deps,
              caller,
              gone: clientGone.signal,
              enough: respondNow,
              isCurrent,
              version,
              requestId: request.id,
              onBug: (err) => request.log.error({ err }, 'a tool met a bug'),
            }),
          // A stream from the start: only streams carry comments.
          {
            responseMode: 'sse',
            keepAliveMs,
            onerror: () => request.log.debug('a message was refused: it does not fit the protocol'),
          },
        )
        const response = await handler.fetch(toWebRequest(request, clientGone.signal), {
          parsedBody: withoutCancellations(request.body),
        })
        // Nothing is kept under it: it tells apart the clients of one caller, so that each can cancel its own calls.
        if (message?.method === 'initialize' && response.ok) reply.header(SESSION_HEADER, randomUUID())
        return reply.send(response)
      },
    })
  }

/** What the protocol needs of the request; keys and cookies stay outside. */
function toWebRequest({ method, headers }: FastifyRequest, signal: AbortSignal): Request {
  const kept = Object.entries(headers).flatMap(([name, value]): [string, string][] =>
    typeof value === 'string' && (name === 'accept' || name === 'content-type' || name.startsWith('mcp-')) ? [[name, value]] : [],
  )
  return new Request('http://localhost/mcp', { method, headers: kept, signal })
}
