import type { Duplex } from 'node:stream'
import { TokenBucket } from 'limiter'
import type { RawData, WebSocket } from 'ws'
import type { ServerSettings } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type ClientFrame, type ServerFrame, SOCKET_CLOSE, serverFrame } from '../../protocol/socket.ts'
import type { Caller } from '../access/caller.ts'
import { toOrchestratorError, toProblem } from '../http/problem-details.ts'
import type { FeedEnd, FeedEntry } from '../live/flow-feed.ts'
import { flowNotFound } from '../live/look.ts'
import { createSlowness } from '../live/slowness.ts'
import type { Subscription, Subscriptions } from '../live/subscriptions.ts'
import type { Command } from './commands.ts'
import { readFrame } from './read-frame.ts'

export interface ConnectionParts {
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
const SLICE_BYTES = 131_072
/** Messages that wait for their turn before no more are read. */
const MAX_WAITING = 32
/** Frames in a row that are none of ours. */
const MAX_MISFITS = 50
/** Milliseconds for the other side to answer the closing of a connection, and for a slow one to come to the reason, behind what it has not read. */
const CLOSE_TIMEOUT_MS = 2_000
const SLOW_CLOSE_TIMEOUT_MS = 10_000

export function createConnection(webSocket: WebSocket, stream: Duplex, caller: Caller, parts: ConnectionParts): Connection {
  const { subscriptions, command, settings } = parts
  const open = new Map<string, Subscription>()
  const bucket = new TokenBucket({ bucketSize: MESSAGE_BURST, tokensPerInterval: MESSAGES_PER_SECOND, interval: 'second' })
  bucket.content = MESSAGE_BURST
  let turns: Promise<void> = Promise.resolve()
  let waiting = 0
  let misfits = 0
  let isAlive = true
  let isClosed = false
  let isCorked = false
  const slowness = createSlowness(settings)

  const isFull = (): boolean => slowness.isFull(webSocket.bufferedAmount)
  /** Reads on where neither what was asked nor what was answered piles up. */
  const listen = () => {
    if (webSocket.isPaused && waiting < MAX_WAITING && !slowness.waits && !isClosed) webSocket.resume()
  }
  const onFlushed = () => {
    const left = webSocket.bufferedAmount
    // What waited for room was taken: the other side reads.
    if (left > 0) isAlive = true
    if (!slowness.hasRoomAgain(left)) return
    isAlive = true
    listen()
    for (const subscription of open.values()) subscription.resume()
  }
  /** Answers are not kept back as updates are: who does not take them is not listened to. */
  const afterAnswer = () => {
    if (isFull() && webSocket.bufferedAmount >= settings.maxBufferedBytes * 2) webSocket.pause()
  }
  const sendData = (data: string | Buffer) => {
    if (webSocket.readyState !== webSocket.OPEN) return
    // What is sent in one turn of the event loop leaves in one write.
    if (!isCorked) {
      isCorked = true
      stream.cork()
      process.nextTick(() => {
        isCorked = false
        stream.uncork()
      })
    }
    if (data.length <= SLICE_BYTES) return webSocket.send(data, { binary: false }, onFlushed)
    // In fragments: how far a reader is in a long one is seen.
    const bytes = Buffer.from(data)
    for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
      const fin = at + SLICE_BYTES >= bytes.length
      webSocket.send(bytes.subarray(at, at + SLICE_BYTES), { binary: false, fin }, onFlushed)
    }
  }
  const send = (frame: ServerFrame) => {
    sendData(JSON.stringify(serverFrame.encode(frame)))
    afterAnswer()
  }
  const refuse = (thrown: unknown, { requestId, flowId }: { readonly requestId?: string; readonly flowId?: string }): void => {
    send({ type: 'refused', requestId, flowId, problem: toProblem(toOrchestratorError(thrown)) })
  }
  const close: Connection['close'] = ({ code, reason }) => {
    terminateAfter(code === SOCKET_CLOSE.slow.code ? SLOW_CLOSE_TIMEOUT_MS : CLOSE_TIMEOUT_MS)
    if (isClosed) return
    isClosed = true
    stopAll()
    webSocket.close(code, reason)
  }
  const terminateAfter = (timeoutMs: number) => {
    setTimeout(() => webSocket.terminate(), timeoutMs).unref()
  }
  /** Closes, and reads nothing more of what is on its way. */
  const shutOut: Connection['close'] = (why) => {
    close(why)
    webSocket.pause()
  }
  /** Takes a message from what the client may send. */
  const mayGoOn = (data: RawData): boolean => {
    if (isClosed) return false
    if (bucket.tryRemoveTokens(1 + Math.floor(lengthOf(data) / COUNTED_BYTES))) return true
    shutOut(SOCKET_CLOSE.flooded)
    return false
  }
  const stopAll = () => {
    for (const subscription of open.values()) subscription.stop()
    open.clear()
  }

  async function subscribe({ flowId, afterSeq, requestId }: Extract<ClientFrame, { type: 'subscribe' }>): Promise<void> {
    if (!open.has(flowId) && open.size >= settings.maxSubscriptions) {
      throw new OrchestratorError('INPUT_INVALID', `expected at most ${settings.maxSubscriptions} flows on one socket`)
    }
    const ended = (end: FeedEnd, lastSeq: number) => {
      if (open.get(flowId) === subscription) open.delete(flowId)
      if ('error' in end) refuse(end.error, { flowId })
      else send({ type: 'end', flowId, status: end.status, lastSeq })
    }
    const sink = { isFull, send: ({ bytes }: Pick<FeedEntry, 'bytes'>) => sendData(bytes), end: ended }
    const subscription = await subscriptions.open(caller, flowId, afterSeq, sink)
    if (isClosed) return subscription.stop()
    open.get(flowId)?.stop()
    open.set(flowId, subscription)
    send({ type: 'subscribed', requestId, flowId, afterSeq })
  }

  async function obey(frame: ClientFrame): Promise<void> {
    const { requestId } = frame
    if (frame.type === 'subscribe') return subscribe(frame)
    if (frame.type === 'ping') return send({ type: 'pong', requestId })
    const { flowId } = frame
    if (frame.type === 'unsubscribe') {
      open.get(flowId)?.stop()
      open.delete(flowId)
      return send({ type: 'unsubscribed', requestId, flowId })
    }
    send({ type: 'status', requestId, flowId, status: await command(caller, frame) })
  }

  function receive(data: RawData, isBinary: boolean): void {
    if (!mayGoOn(data)) return
    isAlive = true
    const read = readFrame(data, isBinary)
    if ('problem' in read) {
      if (++misfits > MAX_MISFITS) shutOut(SOCKET_CLOSE.policy)
      else refuse(read.problem, {})
      return
    }
    misfits = 0
    const { frame } = read
    // One after the other: what a client asks last is what holds.
    if (++waiting >= MAX_WAITING) webSocket.pause()
    turns = turns
      .then(() => (isClosed ? undefined : obey(frame)))
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
    webSocket.pong(data, false, onFlushed)
    afterAnswer()
  })
  // The other side broke the protocol or the line. What it is told of it goes out before the connection ends.
  webSocket.on('error', () => {
    isClosed = true
    stopAll()
    terminateAfter(CLOSE_TIMEOUT_MS)
  })
  webSocket.on('close', () => {
    isClosed = true
    stopAll()
  })

  return {
    caller,
    get subscriptionCount() {
      return open.size
    },
    async recheck() {
      await Promise.all(
        [...open.values()].map(async (subscription) => {
          const { flowId } = subscription
          if ((await subscription.isAllowed()) || open.get(flowId) !== subscription) return
          subscription.stop()
          open.delete(flowId)
          refuse(flowNotFound(flowId), { flowId })
        }),
      )
    },
    closeIfSlow() {
      if (!isClosed && slowness.isTooSlow(webSocket.bufferedAmount)) close(SOCKET_CLOSE.slow)
    },
    ping() {
      // Behind what a full reader has not taken no question arrives: that one is judged by what it takes.
      if (isClosed || slowness.waits) return
      if (isAlive) webSocket.ping()
      else webSocket.terminate()
      isAlive = false
    },
    close,
  }
}

const lengthOf = (data: RawData): number =>
  Array.isArray(data) ? data.reduce((sum, piece) => sum + piece.length, 0) : data.byteLength
