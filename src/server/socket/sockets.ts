import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { startAttendedInterval } from '../../async/attended-time.ts'
import type { ServerSettings } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { SOCKET_PROTOCOL, TICKET_PREFIX } from '../../protocol/socket.ts'
import type { Metrics } from '../../telemetry/telemetry.ts'
import type { Authenticator } from '../access/authenticator.ts'
import { type Caller, requireScope } from '../access/caller.ts'
import type { OriginCheck } from '../access/origin-check.ts'
import { redeemTicket } from '../access/tickets.ts'
import { toOrchestratorError, toProblem } from '../errors/problem-details.ts'
import { sendLastAnswer } from '../raw/last-answer.ts'
import type { ServerDeps } from '../server-deps.ts'
import type { ServiceFeed } from '../services/service-feed.ts'
import type { InFlight } from '../streaming/in-flight.ts'
import type { Subscriptions } from '../streaming/subscriptions.ts'
import { type Connection, createConnection } from './connection.ts'

export interface SocketsDeps extends Pick<ServerDeps, 'orchestrator' | 'tickets' | 'events'> {
  readonly origins: OriginCheck
  readonly authenticator: Authenticator
  readonly subscriptions: Subscriptions
  readonly serviceFeed: ServiceFeed
  readonly inFlight: Pick<InFlight, 'reserve' | 'add'>
  readonly settings: Pick<ServerSettings, 'sockets'>
  /** True from the moment the server takes no new work. */
  readonly isClosing: () => boolean
  /** Path that clients see before every path of the server; empty at the root. */
  readonly basePath: string
  readonly metrics: Pick<Metrics, 'openSockets'> | undefined
}

/** The WebSockets of one server. The in-flight register ends them. */
export interface Sockets {
  /** Answers a request for a WebSocket, whose target is a path of this server. */
  upgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void
  /** Stops the timers. Must be called after the sockets have been ended. */
  close(): void
}

const PATH = '/ws'
/** Our clients send every message in one fragment. In `ws` before 8.21.1 many tiny fragments exhausted the memory. */
const MAX_FRAGMENTS = 64
const MAX_BUFFERED_CHUNKS = 1_024

export function createSockets(deps: SocketsDeps): Sockets {
  const { settings, subscriptions, events, serviceFeed, orchestrator, inFlight, isClosing, metrics, basePath } = deps
  const instance = basePath + PATH
  const { maxMessageBytes, pingEveryMs } = settings.sockets
  const connections = new Set<Connection>()
  const webSockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    // The connection answers pings itself, so that they count against the message rate of the client.
    autoPong: false,
    maxPayload: maxMessageBytes,
    maxFragments: MAX_FRAGMENTS,
    maxBufferedChunks: MAX_BUFFERED_CHUNKS,
    handleProtocols: (protocols) => (protocols.has(SOCKET_PROTOCOL) ? SOCKET_PROTOCOL : false),
  })

  // Without a listener `ws` would answer by itself, in another format than RFC 9457.
  webSockets.on('wsClientError', ({ message }, stream, { method }) => {
    const error = new OrchestratorError('INPUT_INVALID', `expected a WebSocket handshake of version 13: ${message}`)
    sendLastAnswer(stream, { ...toProblem(error, { instance }), status: 400 }, { headOnly: method === 'HEAD' })
  })

  async function admit(request: IncomingMessage): Promise<Caller> {
    deps.origins.assertAllowed(request)
    if (request.url?.split('?', 1)[0] !== PATH)
      throw new OrchestratorError('ROUTE_NOT_FOUND', `No WebSocket at this path: expected ${instance}`)
    if (isClosing()) throw new OrchestratorError('SERVER_CLOSING', 'The server is shutting down')
    const caller = await callerOf(request, deps)
    requireScope(caller, 'read')
    return caller
  }

  async function upgrade(request: IncomingMessage, stream: Duplex, head: Buffer): Promise<void> {
    endOnError(stream)
    try {
      const caller = await admit(request)
      if (!stream.writable) return
      stream.once('close', inFlight.reserve(caller, 'WebSockets'))
      webSockets.handleUpgrade(request, stream, head, toOpening(stream, caller))
    } catch (error) {
      const problem = toProblem(toOrchestratorError(error), { instance })
      sendLastAnswer(stream, problem, { headOnly: request.method === 'HEAD' })
    }
  }

  /**
   * A separate function, because its closures live as long as the connection: they must not keep the request in memory,
   * which is as large as everything else together.
   */
  const toOpening = (stream: Duplex, caller: Caller) => (webSocket: WebSocket) => {
    const connection = createConnection(webSocket, stream, caller, {
      subscriptions,
      events,
      serviceFeed,
      orchestrator,
      settings: settings.sockets,
    })
    const release = inFlight.add(connection)
    connections.add(connection)
    metrics?.openSockets(connections.size)
    webSocket.on('close', () => {
      release()
      connections.delete(connection)
      metrics?.openSockets(connections.size)
    })
  }

  const stopPings = startAttendedInterval(pingEveryMs, () => {
    for (const connection of connections) connection.ping()
  })

  return {
    upgrade: (request, stream, head) => void upgrade(request, stream, head),
    close() {
      stopPings()
      webSockets.close()
    },
  }
}

/** Without a listener for errors a reset connection would end the process. */
function endOnError(stream: Duplex): void {
  stream.on('error', () => stream.destroy())
}

/**
 * The caller of a ticket among the subprotocols, else of the Authorization header. A page always needs a ticket: its
 * browser would send credentials of its own with the requests of any other page as well.
 */
async function callerOf(request: IncomingMessage, { tickets, authenticator, basePath }: SocketsDeps): Promise<Caller> {
  const { origin, 'sec-websocket-protocol': protocols = '' } = request.headers
  const offered = protocols.split(',').map((name) => name.trim())
  const ticket = offered.find((name) => name.startsWith(TICKET_PREFIX))
  if (ticket !== undefined) {
    const caller = await redeemTicket(tickets, ticket.slice(TICKET_PREFIX.length))
    if (caller && (await authenticator.isCurrent(caller))) return caller
    throw new OrchestratorError('UNAUTHENTICATED', 'Not authenticated: the ticket was used before, or has expired')
  }
  if (origin !== undefined)
    throw new OrchestratorError(
      'UNAUTHENTICATED',
      `Not authenticated: a page needs a ticket, see POST ${basePath}/api/v1/tickets`,
    )
  return authenticator.authenticate(request)
}
