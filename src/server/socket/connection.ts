import type { Duplex } from 'node:stream'
import { TokenBucket } from 'limiter'
import type { RawData, WebSocket } from 'ws'
import type { ServerSettings } from '../../config/config.ts'
import type { EventService } from '../../orchestrator/events/event-service.ts'
import { type ServerFrame, SOCKET_CLOSE, serverFrame } from '../../protocol/socket.ts'
import type { Caller } from '../access/caller.ts'
import { toOrchestratorError, toProblem } from '../errors/problem-details.ts'
import type { ServiceFeed } from '../services/service-feed.ts'
import type { InFlightEntry } from '../streaming/in-flight.ts'
import type { Subscriptions } from '../streaming/subscriptions.ts'
import { createEventSlot } from './event-slot.ts'
import { handleFrame, type MessageContext } from './messages.ts'
import { readFrame } from './read-frame.ts'
import { createServiceFrames } from './service-frames.ts'
import { createSocketWriter } from './socket-writer.ts'
import { createSubscriptionSet } from './subscription-set.ts'

export interface ConnectionDeps extends Pick<MessageContext, 'orchestrator'> {
  readonly subscriptions: Subscriptions
  readonly events: Pick<EventService, 'follow' | 'list' | 'newestSeq' | 'ready'>
  readonly serviceFeed: ServiceFeed
  readonly settings: ServerSettings['sockets']
}

/**
 * One open WebSocket of one caller. As an entry of the in-flight register it is rechecked, and closed when it is slow.
 */
export interface Connection extends Required<Omit<InFlightEntry, 'limit'>> {
  readonly subscriptionCount: number
  /** Sends a ping. Ends the connection when the client has sent nothing since the last one. */
  ping(): void
}

interface CloseReason {
  readonly code: number
  readonly reason: string
}

/**
 * Messages of a client per second, and in one burst. A message counts once, and once more for every full 4,096 bytes.
 */
const MESSAGES_PER_SECOND = 200
const MESSAGE_BURST = 1_000
const COUNTED_BYTES = 4_096
/** Maximum number of messages that wait to be handled; then the connection stops reading. */
const MAX_WAITING = 32
/** Number of successive invalid frames after which the connection is closed. */
const MAX_INVALID_FRAMES = 50
/**
 * Milliseconds that the client has to answer the closing handshake. A slow client must first read what was sent before
 * it.
 */
const CLOSE_TIMEOUT_MS = 2_000
const SLOW_CLOSE_TIMEOUT_MS = 10_000

export function createConnection(webSocket: WebSocket, stream: Duplex, caller: Caller, deps: ConnectionDeps): Connection {
  const { settings, orchestrator } = deps
  const bucket = new TokenBucket({ bucketSize: MESSAGE_BURST, tokensPerInterval: MESSAGES_PER_SECOND, interval: 'second' })
  bucket.content = MESSAGE_BURST
  let lastHandled: Promise<void> = Promise.resolve()
  let waiting = 0
  let invalidFrames = 0
  let isAlive = true
  let isClosed = false

  const writer = createSocketWriter({
    webSocket,
    stream,
    settings,
    onRead() {
      isAlive = true
    },
    onDrained() {
      resumeReading()
      subscriptions.resume()
      eventSlot.resume()
      serviceFrames.resume()
    },
  })
  /**
   * Updates wait for capacity, answers do not. The connection stops reading from a client that does not read its
   * answers.
   */
  const send = (frame: ServerFrame) => {
    writer.send(JSON.stringify(serverFrame.encode(frame)))
    if (writer.isOverfull()) webSocket.pause()
  }
  const refuse = (thrown: unknown, { requestId, flowId }: { readonly requestId?: string; readonly flowId?: string }): void => {
    send({ type: 'refused', requestId, flowId, problem: toProblem(toOrchestratorError(thrown)) })
  }
  const { maxSubscriptions } = settings
  const subscriptions = createSubscriptionSet({
    caller,
    subscriptions: deps.subscriptions,
    maxSubscriptions,
    writer,
    send,
    refuse,
  })
  const eventSlot = createEventSlot({
    caller,
    events: deps.events,
    isFull: writer.isFull,
    send,
    refuse: (error) => refuse(error, {}),
  })

  const serviceFrames = createServiceFrames({ feed: deps.serviceFeed, isFull: writer.isFull, send })

  const resumeReading = () => {
    if (webSocket.isPaused && waiting < MAX_WAITING && !writer.isBackpressured && !isClosed) webSocket.resume()
  }
  const terminateAfter = (timeoutMs: number) => {
    setTimeout(() => webSocket.terminate(), timeoutMs).unref()
  }
  const end = () => {
    isClosed = true
    subscriptions.stop()
    eventSlot.end()
    serviceFrames.stop()
  }
  const close = ({ code, reason }: CloseReason) => {
    terminateAfter(code === SOCKET_CLOSE.slow.code ? SLOW_CLOSE_TIMEOUT_MS : CLOSE_TIMEOUT_MS)
    if (isClosed) return
    end()
    webSocket.close(code, reason)
  }
  const closeAndStopReading = (why: CloseReason) => {
    close(why)
    webSocket.pause()
  }
  /** Counts a message against the rate. Closes the connection and returns false when the client exceeds it. */
  const isWithinRate = (data: RawData): boolean => {
    if (isClosed) return false
    if (bucket.tryRemoveTokens(1 + Math.floor(lengthOf(data) / COUNTED_BYTES))) return true
    closeAndStopReading(SOCKET_CLOSE.flooded)
    return false
  }

  function receive(data: RawData, isBinary: boolean): void {
    if (!isWithinRate(data)) return
    const read = readFrame(data, isBinary)
    if ('problem' in read) {
      if (++invalidFrames > MAX_INVALID_FRAMES) closeAndStopReading(SOCKET_CLOSE.policy)
      else refuse(read.problem, {})
      return
    }
    invalidFrames = 0
    const { frame } = read
    // Messages are handled one after another, so that the last of two contradicting messages wins.
    if (++waiting >= MAX_WAITING) webSocket.pause()
    lastHandled = lastHandled
      .then(() => (isClosed ? undefined : handleFrame(frame, { caller, orchestrator, subscriptions, eventSlot, serviceFrames })))
      .then((answer) => answer && send(answer))
      .catch((error: unknown) => refuse(error, frame))
      .then(() => {
        waiting--
        resumeReading()
      })
  }

  // A pong cannot overtake the message that the client is sending, so every byte counts.
  stream.on('data', () => {
    isAlive = true
  })
  webSocket.on('message', receive)
  webSocket.on('pong', isWithinRate)
  webSocket.on('ping', (data) => {
    if (!isWithinRate(data)) return
    writer.pong(data)
    if (writer.isOverfull()) webSocket.pause()
  })
  // `ws` emits this for a frame that violates the protocol and for a broken connection, and sends the closing frame
  // itself.
  webSocket.on('error', () => {
    end()
    terminateAfter(CLOSE_TIMEOUT_MS)
  })
  webSocket.on('close', end)
  // Clients that name no protocol want the states of services and send nothing.
  if (webSocket.protocol === '' && caller.scopes.includes('operate')) serviceFrames.start()

  return {
    caller,
    get subscriptionCount() {
      return subscriptions.count
    },
    respondNow: ({ code }) => close(code === 'UNAUTHENTICATED' ? SOCKET_CLOSE.unauthenticated : SOCKET_CLOSE.goingAway),
    async recheck() {
      await eventSlot.recheck()
      return subscriptions.recheck()
    },
    closeIfSlow() {
      if (!isClosed && writer.isTooSlow()) close(SOCKET_CLOSE.slow)
    },
    ping() {
      if (isClosed) return
      // A ping would arrive only after the unread data, and this side would not read its answer. `closeIfSlow` ends a
      // client that does not read.
      if (writer.isBackpressured || webSocket.isPaused) {
        isAlive = true
        return
      }
      if (isAlive) webSocket.ping()
      else webSocket.terminate()
      isAlive = false
    },
  }
}

const lengthOf = (data: RawData): number =>
  Array.isArray(data) ? data.reduce((sum, slice) => sum + slice.length, 0) : data.byteLength
