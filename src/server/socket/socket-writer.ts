import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { ServerSettings } from '../../config/config.ts'
import { createBackpressureMonitor } from '../streaming/backpressure.ts'

export interface SocketWriterDeps {
  readonly webSocket: WebSocket
  /** What the WebSocket writes to. */
  readonly stream: Duplex
  readonly settings: Pick<ServerSettings['sockets'], 'maxBufferedBytes' | 'slowAfterMs'>
  /** The other side took something that waited for it. */
  readonly onTaken: () => void
  /** There is room again, after the outlet was full. */
  readonly onRoom: () => void
}

/** What leaves on one WebSocket, and how much of it waits. */
export interface SocketWriter {
  /** Sends one message, as long as the WebSocket is open. */
  send(data: string | Buffer): void
  /** Answers a ping. */
  pong(data: Buffer): void
  /** Updates are to be kept back. */
  isFull(): boolean
  /** So much waits that nothing more should be asked for, either. */
  isOverfull(): boolean
  /** It was full, and the other side has not taken enough since. */
  readonly waits: boolean
  /** The other side has taken too little for too long. */
  isTooSlow(): boolean
}

const SLICE_BYTES = 131_072

export function createSocketWriter({ webSocket, stream, settings, onTaken, onRoom }: SocketWriterDeps): SocketWriter {
  const slowness = createBackpressureMonitor(settings)
  let isCorked = false

  const isFull = () => slowness.isFull(webSocket.bufferedAmount)
  const onFlushed = () => {
    const left = webSocket.bufferedAmount
    const hasRoom = slowness.hasRoomAgain(left)
    // What waited for room was taken: the other side reads.
    if (left > 0 || hasRoom) onTaken()
    if (hasRoom) onRoom()
  }
  /** What is sent in one turn of the event loop leaves in one write. */
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
      // In fragments: how far a reader is in a long one is seen. Its bytes are those of all who read it.
      const bytes = typeof data === 'string' ? Buffer.from(data) : data
      for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
        const fin = at + SLICE_BYTES >= bytes.length
        webSocket.send(bytes.subarray(at, at + SLICE_BYTES), { binary: false, fin }, onFlushed)
      }
    },
    pong: (data) => webSocket.pong(data, false, onFlushed),
    isFull,
    isOverfull: () => isFull() && webSocket.bufferedAmount >= settings.maxBufferedBytes * 2,
    get waits() {
      return slowness.isBackpressured
    },
    isTooSlow: () => slowness.isTooSlow(webSocket.bufferedAmount),
  }
}
