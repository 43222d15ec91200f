import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { createMcpHandler } from '@modelcontextprotocol/server'
import type { FastifyRequest } from 'fastify'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Authenticator } from '../access/authenticate.ts'
import { callerOf, type Routes } from '../http/requests.ts'
import type { ServerParts } from '../parts.ts'
import { createCancellations, readMessage, withoutCancellations } from './cancellations.ts'
import { createToolServer } from './tool-server.ts'

export interface McpRouteOptions {
  readonly authenticator: Pick<Authenticator, 'isCurrent'>
  /** Told to clients. */
  readonly version: string
}

/** Messages that one request may carry; only clients of 2025-03-26 send more than one, and every one of them is a call. */
const MAX_BATCH = 20
const SESSION_HEADER = 'mcp-session-id'

/**
 * Flows as tools, over Streamable HTTP. Every request stands alone and gets a server and a transport of its own, so that any process can answer it and no
 * answer can reach another client. Who calls from where, and how often, was asked by the hooks of the app.
 */
export const mcpRoutes =
  (parts: ServerParts, { authenticator, version }: McpRouteOptions): Routes =>
  async (app) => {
    const cancellations = createCancellations()
    const exchanges = createExchanges(parts.config.server.closeTimeoutMs)
    app.addHook('preClose', exchanges.close)

    app.route({
      // GET and DELETE are operations on sessions that live in a server; the handler answers that there are none.
      method: ['POST', 'GET', 'DELETE'],
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
        const gone = exchanges.open(reply.raw)
        if (message) cancellations.take(message, place, gone)
        const handler = createMcpHandler(
          () =>
            createToolServer({
              open: async () => parts,
              caller,
              gone: gone.signal,
              closing: exchanges.closing,
              version,
              requestId: request.id,
              assertCurrent: async () => {
                if (await authenticator.isCurrent(caller)) return
                throw new OrchestratorError('UNAUTHENTICATED', 'Not authenticated any more')
              },
              onBug: (err) => request.log.error({ err }, 'a tool met a bug'),
            }),
          // A stream from the start: comments keep proxies from closing it while a tool waits.
          { responseMode: 'sse', onerror: () => request.log.debug('a message was refused: it does not fit the protocol') },
        )
        const response = await handler.fetch(toWebRequest(request, gone.signal), {
          parsedBody: withoutCancellations(request.body),
        })
        // Nothing is kept under it: it tells apart the clients of one caller, so that each can cancel its own calls.
        if (message?.method === 'initialize' && response.ok) reply.header(SESSION_HEADER, randomUUID())
        return reply.send(response)
      },
    })
  }

/** Requests that are being answered. */
function createExchanges(closeTimeoutMs: number) {
  const closing = new AbortController()
  const open = new Set<ServerResponse>()
  let onIdle = () => {}
  return {
    closing: closing.signal,
    /** Aborted when the client is gone, or has got its answer. */
    open(response: ServerResponse): AbortController {
      const gone = new AbortController()
      open.add(response)
      response.once('close', () => {
        open.delete(response)
        gone.abort()
        if (open.size === 0) onIdle()
      })
      return gone
    },
    /** Lets those who wait answer with what there is, before connections are closed. */
    close: async () => {
      closing.abort()
      if (open.size === 0) return
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, closeTimeoutMs)
        onIdle = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    },
  }
}

/** What the protocol needs of the request; keys and cookies stay outside. */
function toWebRequest({ method, headers }: FastifyRequest, signal: AbortSignal): Request {
  const kept = Object.entries(headers).flatMap(([name, value]): [string, string][] =>
    typeof value === 'string' && (name === 'accept' || name === 'content-type' || name.startsWith('mcp-')) ? [[name, value]] : [],
  )
  return new Request('http://localhost/mcp', { method, headers: kept, signal })
}
