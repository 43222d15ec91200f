import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { ServerSettings } from '../../config/config.ts'
import { createBackpressureMonitor } from '../streaming/backpressure.ts'

export interface SocketWriterDeps {
  readonly webSocket: WebSocket
  /** Connection that the WebSocket writes to. */
  readonly stream: Duplex
  readonly settings: Pick<ServerSettings['sockets'], 'maxBufferedBytes' | 'slowAfterMs'>
  /** Called when the client has read data that were buffered. */
  readonly onRead: () => void
  /** Called when the buffer was full and has capacity again. */
  readonly onDrained: () => void
}

/** Writes to one WebSocket and measures how much of it the client has not read. */
export interface SocketWriter {
  /** Sends one message. Does nothing when the WebSocket is not open. */
  send(data: string | Buffer): void
  /** Answers a ping. */
  pong(data: Buffer): void
  /** True when updates must wait. */
  isFull(): boolean
  /** True when the buffer holds twice its limit, so that the connection must stop reading as well. */
  isOverfull(): boolean
  /** True from the moment the buffer was full until the client has read half of its limit. */
  readonly isBackpressured: boolean
  /** True when the client has read too little for too long. */
  isTooSlow(): boolean
}

/** Bytes per fragment. A long message is sent in fragments, so that the progress of its reader can be measured. */
const SLICE_BYTES = 131_072

export function createSocketWriter({ webSocket, stream, settings, onRead, onDrained }: SocketWriterDeps): SocketWriter {
  const backpressure = createBackpressureMonitor(settings)
  let isCorked = false

  const isFull = () => backpressure.isFull(webSocket.bufferedAmount)
  const onFlushed = () => {
    const left = webSocket.bufferedAmount
    const hasRoom = backpressure.hasRoomAgain(left)
    // Data left the buffer, so the client is reading. A write that left at once proves nothing, because the system may
    // still hold it for a dead client.
    if (left > 0 || hasRoom) onRead()
    if (hasRoom) onDrained()
  }
  /** Combines all messages of one turn of the event loop into one write. */
  const cork = () => {
    if (isCorked) return
    isCorked = true
    stream.cork()
    process.nextTick(() => {
      isCorked = false
      stream.uncork()
    })
  }

  return {
    send(data) {
      if (webSocket.readyState !== webSocket.OPEN) return
      cork()
      if (data.length <= SLICE_BYTES) return webSocket.send(data, { binary: false }, onFlushed)
      // The slices share the memory of the message, which all its readers share.
      const bytes = typeof data === 'string' ? Buffer.from(data) : data
      for (let start = 0; start < bytes.length; start += SLICE_BYTES) {
        const fin = start + SLICE_BYTES >= bytes.length
        webSocket.send(bytes.subarray(start, start + SLICE_BYTES), { binary: false, fin }, onFlushed)
      }
    },
    pong: (data) => webSocket.pong(data, false, onFlushed),
    isFull,
    isOverfull: () => isFull() && webSocket.bufferedAmount >= settings.maxBufferedBytes * 2,
    get isBackpressured() {
      return backpressure.isBackpressured
    },
    isTooSlow: () => backpressure.isTooSlow(webSocket.bufferedAmount),
  }
}
