import type { Duplex } from 'node:stream'
import { TokenBucket } from 'limiter'
import type { RawData, WebSocket } from 'ws'
import type { ServerSettings } from '../../config/config.ts'
import type { FlowStatusReport } from '../../domain/execution/flow.ts'
import { type ClientFrame, type ServerFrame, SOCKET_CLOSE, serverFrame } from '../../protocol/socket.ts'
import { type Caller, requireScope } from '../access/caller.ts'
import { toOrchestratorError, toProblem } from '../errors/problem-details.ts'
import type { ServerDeps } from '../server-deps.ts'
import type { Subscriptions } from '../streaming/subscriptions.ts'
import { readFrame } from './read-frame.ts'
import { createSocketWriter } from './socket-writer.ts'
import { createSubscriptionSet } from './subscription-set.ts'

export interface ConnectionDeps {
  readonly subscriptions: Subscriptions
  readonly command: Command
  readonly settings: ServerSettings['sockets']
}

/** One open WebSocket of one caller. */
export interface Connection {
  readonly caller: Caller
  readonly subscriptionCount: number
  /** Ends subscriptions to flows that the caller may no longer read. */
  recheck(): Promise<void>
  /** Closes a reader that has taken nothing for too long. */
  closeIfSlow(): void
  /** Asks whether the other side lives; ends the connection where the last question was not answered. */
  ping(): void
  close(why: { readonly code: number; readonly reason: string }): void
}

/** Messages of a client in a second, and at once; a long one counts as many as would have filled it. */
const MESSAGES_PER_SECOND = 200
const MESSAGE_BURST = 1_000
const COUNTED_BYTES = 4_096
/** Messages that wait for their turn before no more are read. */
const MAX_WAITING = 32
/** Frames in a row that are none of ours. */
const MAX_INVALID_FRAMES = 50
/** Milliseconds for the other side to answer the closing of a connection, and for a slow one to come to the reason, behind what it has not read. */
const CLOSE_TIMEOUT_MS = 2_000
const SLOW_CLOSE_TIMEOUT_MS = 10_000

export function createConnection(webSocket: WebSocket, stream: Duplex, caller: Caller, deps: ConnectionDeps): Connection {
  const { subscriptions, command, settings } = deps
  const bucket = new TokenBucket({ bucketSize: MESSAGE_BURST, tokensPerInterval: MESSAGES_PER_SECOND, interval: 'second' })
  bucket.content = MESSAGE_BURST
  let turns: Promise<void> = Promise.resolve()
  let waiting = 0
  let invalidFrames = 0
  let isAlive = true
  let isClosed = false

  const writer = createSocketWriter({
    webSocket,
    stream,
    settings,
    onTaken() {
      isAlive = true
    },
    onRoom() {
      listen()
      following.resume()
    },
  })
  /** Answers are not kept back as updates are: who does not take them is not listened to. */
  const send = (frame: ServerFrame) => {
    writer.send(JSON.stringify(serverFrame.encode(frame)))
    if (writer.isOverfull()) webSocket.pause()
  }
  const refuse = (thrown: unknown, { requestId, flowId }: { readonly requestId?: string; readonly flowId?: string }): void => {
    send({ type: 'refused', requestId, flowId, problem: toProblem(toOrchestratorError(thrown)) })
  }
  const { maxSubscriptions } = settings
  const following = createSubscriptionSet({ caller, subscriptions, maxSubscriptions, writer, send, refuse })

  /** Reads on where neither what was asked nor what was answered piles up. */
  const listen = () => {
    if (webSocket.isPaused && waiting < MAX_WAITING && !writer.waits && !isClosed) webSocket.resume()
  }
  const terminateAfter = (timeoutMs: number) => {
    setTimeout(() => webSocket.terminate(), timeoutMs).unref()
  }
  const end = () => {
    isClosed = true
    following.stop()
  }
  const close: Connection['close'] = ({ code, reason }) => {
    terminateAfter(code === SOCKET_CLOSE.slow.code ? SLOW_CLOSE_TIMEOUT_MS : CLOSE_TIMEOUT_MS)
    if (isClosed) return
    end()
    webSocket.close(code, reason)
  }
  /** Closes, and reads nothing more of what is on its way. */
  const closeAndStopReading: Connection['close'] = (why) => {
    close(why)
    webSocket.pause()
  }
  /** Takes a message from what the client may send. */
  const mayGoOn = (data: RawData): boolean => {
    if (isClosed) return false
    if (bucket.tryRemoveTokens(1 + Math.floor(lengthOf(data) / COUNTED_BYTES))) return true
    closeAndStopReading(SOCKET_CLOSE.flooded)
    return false
  }

  async function handleFrame(frame: ClientFrame): Promise<void> {
    const { requestId } = frame
    if (frame.type === 'ping') return send({ type: 'pong', requestId })
    const { flowId } = frame
    if (frame.type === 'subscribe') return following.add(flowId, frame.afterSeq, requestId)
    if (frame.type === 'unsubscribe') {
      following.remove(flowId)
      return send({ type: 'unsubscribed', requestId, flowId })
    }
    send({ type: 'status', requestId, flowId, status: await command(caller, frame) })
  }

  function receive(data: RawData, isBinary: boolean): void {
    if (!mayGoOn(data)) return
    isAlive = true
    const read = readFrame(data, isBinary)
    if ('problem' in read) {
      if (++invalidFrames > MAX_INVALID_FRAMES) closeAndStopReading(SOCKET_CLOSE.policy)
      else refuse(read.problem, {})
      return
    }
    invalidFrames = 0
    const { frame } = read
    // One after the other: what a client asks last is what holds.
    if (++waiting >= MAX_WAITING) webSocket.pause()
    turns = turns
      .then(() => (isClosed ? undefined : handleFrame(frame)))
      .catch((error: unknown) => refuse(error, frame))
      .then(() => {
        waiting--
        listen()
      })
  }

  webSocket.on('message', receive)
  webSocket.on('pong', (data) => {
    if (mayGoOn(data)) isAlive = true
  })
  webSocket.on('ping', (data) => {
    if (!mayGoOn(data)) return
    writer.pong(data)
    if (writer.isOverfull()) webSocket.pause()
  })
  // The other side broke the protocol or the line. What it is told of it goes out before the connection ends.
  webSocket.on('error', () => {
    end()
    terminateAfter(CLOSE_TIMEOUT_MS)
  })
  webSocket.on('close', end)

  return {
    caller,
    get subscriptionCount() {
      return following.count
    },
    recheck: following.recheck,
    closeIfSlow() {
      if (!isClosed && writer.isTooSlow()) close(SOCKET_CLOSE.slow)
    },
    ping() {
      // Behind what a full reader has not taken no question arrives: that one is judged by what it takes.
      if (isClosed || writer.waits) return
      if (isAlive) webSocket.ping()
      else webSocket.terminate()
      isAlive = false
    },
    close,
  }
}

const lengthOf = (data: RawData): number =>
  Array.isArray(data) ? data.reduce((sum, piece) => sum + piece.length, 0) : data.byteLength

type CommandFrame = Extract<ClientFrame, { type: 'execute' | 'cancel' }>

/** Does what a frame asks for with a flow and answers with where the flow stands. Rejects as the HTTP routes do. */
export type Command = (caller: Caller, frame: CommandFrame) => Promise<FlowStatusReport>

export const createCommand =
  ({ orchestrator }: Pick<ServerDeps, 'orchestrator'>): Command =>
  async (caller, frame) => {
    requireScope(caller, 'execute')
    if (frame.type === 'cancel') return orchestrator.cancelFlow(frame.flowId, caller.userId)
    return orchestrator.startFlow(frame.flowId, caller.userId, { streaming: true, resumeAfterCrash: true, ...frame.options })
  }
