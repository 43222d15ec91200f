import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import type { ServerSettings } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { SOCKET_CLOSE, SOCKET_PROTOCOL, TICKET_PREFIX } from '../../protocol/socket.ts'
import type { Metrics } from '../../telemetry/telemetry.ts'
import type { Authenticator } from '../access/authenticator.ts'
import { type Caller, requireScope } from '../access/caller.ts'
import { createConnectionLimiter } from '../access/connection-limiter.ts'
import type { OriginCheck } from '../access/origin-check.ts'
import { redeemTicket } from '../access/tickets.ts'
import { toOrchestratorError, toProblem } from '../errors/problem-details.ts'
import { sendLastAnswer } from '../raw/last-answer.ts'
import { passOverUpgrade, wantsWebSocket } from '../raw/other-upgrades.ts'
import type { ServerDeps } from '../server-deps.ts'
import { createPeriodicCheck } from '../streaming/periodic-check.ts'
import type { Subscriptions } from '../streaming/subscriptions.ts'
import { type Connection, createCommand, createConnection } from './connection.ts'

export interface SocketsDeps extends Pick<ServerDeps, 'orchestrator' | 'tickets'> {
  readonly origins: OriginCheck
  readonly authenticator: Authenticator
  readonly subscriptions: Subscriptions
  readonly settings: Pick<ServerSettings, 'sockets'>
  readonly isClosing: () => boolean
  readonly metrics: Pick<Metrics, 'openSockets'> | undefined
  /** Milliseconds between looks at the rights of those who follow. */
  readonly recheckIntervalMs: number
}

export interface Sockets {
  /** Takes the upgrades of the server. */
  attach(server: Server): void
  readonly size: number
  readonly subscriptionCount: number
  close(): void
}

const PATH = '/ws'
/** A message of ours comes in one piece; below 8.21.1 of `ws` tiny ones exhausted the memory. */
const MAX_FRAGMENTS = 64
const MAX_BUFFERED_CHUNKS = 1_024
/** At most, between looks for readers that take nothing. */
const SLOW_LOOK_MS = 1_000

/** All WebSockets of this process. */
export function createSockets(deps: SocketsDeps): Sockets {
  const { settings, subscriptions, authenticator, isClosing, metrics, recheckIntervalMs } = deps
  const { maxMessageBytes, pingEveryMs, slowAfterMs } = settings.sockets
  const connections = new Set<Connection>()
  const places = createConnectionLimiter({ ...settings.sockets, name: 'WebSockets' })
  const command = createCommand(deps)
  const webSockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    // Answered by the connection, which counts what a client makes it send.
    autoPong: false,
    maxPayload: maxMessageBytes,
    maxFragments: MAX_FRAGMENTS,
    maxBufferedChunks: MAX_BUFFERED_CHUNKS,
    handleProtocols: (protocols) => (protocols.has(SOCKET_PROTOCOL) ? SOCKET_PROTOCOL : false),
  })

  // Else it would answer by itself, and in no form of ours.
  webSockets.on('wsClientError', ({ message }, stream) => {
    const error = new OrchestratorError('INPUT_INVALID', `expected the opening of a WebSocket of version 13: ${message}`)
    sendLastAnswer(stream, { ...toProblem(error, { instance: PATH }), status: 400 })
  })

  async function admit(request: IncomingMessage): Promise<Caller> {
    deps.origins.assertAllowed(request)
    if (request.url?.split('?', 1)[0] !== PATH) throw new OrchestratorError('ROUTE_NOT_FOUND', 'No WebSocket is opened here')
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
      stream.once('close', places.acquire(caller.userId))
      webSockets.handleUpgrade(request, stream, head, toOpening(stream, caller))
    } catch (error) {
      sendLastAnswer(stream, toProblem(toOrchestratorError(error), { instance: PATH }))
    }
  }

  /** Apart from the upgrade: what lives as long as the connection must not hold the request, which is as large as all the rest. */
  const toOpening = (stream: Duplex, caller: Caller) => (webSocket: WebSocket) => {
    const connection = createConnection(webSocket, stream, caller, { subscriptions, command, settings: settings.sockets })
    connections.add(connection)
    metrics?.openSockets(connections.size)
    webSocket.on('close', () => {
      connections.delete(connection)
      metrics?.openSockets(connections.size)
    })
  }

  const look = createPeriodicCheck(() =>
    Promise.all(
      [...connections].map(async (connection) => {
        if (await authenticator.isCurrent(connection.caller)) await connection.recheck()
        else connection.close(SOCKET_CLOSE.unauthenticated)
      }),
    ),
  )
  const each = (work: (connection: Connection) => void) => () => {
    for (const connection of connections) work(connection)
  }
  const timers = [
    setInterval(look, recheckIntervalMs),
    setInterval(
      each((connection) => connection.closeIfSlow()),
      Math.min(SLOW_LOOK_MS, slowAfterMs),
    ),
    setInterval(
      each((connection) => connection.ping()),
      pingEveryMs,
    ),
  ].map((timer) => timer.unref())

  return {
    attach(server) {
      server.on('upgrade', (request, stream, head) => {
        if (wantsWebSocket(request)) void upgrade(request, stream, head)
        else passOverUpgrade(server, request, stream, head)
      })
    },
    get size() {
      return connections.size
    },
    get subscriptionCount() {
      let sum = 0
      for (const { subscriptionCount } of connections) sum += subscriptionCount
      return sum
    },
    close() {
      for (const timer of timers) clearInterval(timer)
      for (const connection of connections) connection.close(SOCKET_CLOSE.goingAway)
      webSockets.close()
    },
  }
}

/** Without a listener a reset connection would end the process. */
function endOnError(stream: Duplex): void {
  stream.on('error', () => stream.destroy())
}

/** A ticket among the subprotocols, else the Authorization header. A page always needs a ticket: its browser would send it along for any other page too. */
async function callerOf(request: IncomingMessage, { tickets, authenticator }: SocketsDeps): Promise<Caller> {
  const { origin, 'sec-websocket-protocol': protocols = '' } = request.headers
  const offered = protocols.split(',').map((name) => name.trim())
  const ticket = offered.find((name) => name.startsWith(TICKET_PREFIX))
  if (ticket !== undefined) {
    const caller = await redeemTicket(tickets, ticket.slice(TICKET_PREFIX.length))
    if (caller && (await authenticator.isCurrent(caller))) return caller
    throw new OrchestratorError('UNAUTHENTICATED', 'Not authenticated: this ticket was used, or is too old')
  }
  if (origin !== undefined)
    throw new OrchestratorError('UNAUTHENTICATED', 'Not authenticated: a page needs a ticket, see POST /api/v1/tickets')
  return authenticator.authenticate(request.headers)
}
