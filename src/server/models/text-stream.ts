import type { FastifyReply } from 'fastify'
import { startAttendedInterval } from '../../async/attended-time.ts'
import type { ServerSettings } from '../../config/config.ts'
import { beginEvents } from '../streaming/begin-events.ts'

export interface TextStreamOptions {
  readonly limits: Pick<ServerSettings['sockets'], 'maxBufferedBytes' | 'slowAfterMs'>
  /** Milliseconds between comments that keep proxies and clients from closing a quiet stream. */
  readonly heartbeatMs: number
}

/**
 * Server-sent events of one answer. The response begins with the first event or heartbeat. Until then an error can
 * still be sent with its status.
 */
export interface TextStream {
  readonly isStarted: boolean
  /**
   * Writes events and resolves when the buffer has capacity again. A client that reads nothing for `slowAfterMs` is
   * disconnected.
   */
  write(events: string): Promise<void>
  end(): void
}

export function openTextStream(reply: FastifyReply, { limits, heartbeatMs }: TextStreamOptions): TextStream {
  const { raw } = reply
  const { maxBufferedBytes, slowAfterMs } = limits
  let isStarted = false

  const begin = () => {
    if (isStarted) return
    isStarted = true
    reply.hijack()
    beginEvents(reply)
  }
  const isFull = () => raw.writableLength >= maxBufferedBytes
  const heartbeat = setInterval(() => {
    if (raw.destroyed || isFull()) return
    begin()
    raw.write(': ping\n\n')
  }, heartbeatMs).unref()
  const stop = () => clearInterval(heartbeat)
  raw.once('close', stop)

  const drained = () =>
    new Promise<void>((resolve) => {
      const done = () => {
        stopWait()
        raw.off('drain', done)
        raw.off('close', done)
        resolve()
      }
      const stopWait = startAttendedInterval(slowAfterMs, () => raw.destroy())
      raw.once('drain', done)
      raw.once('close', done)
    })

  return {
    get isStarted() {
      return isStarted
    },
    async write(events) {
      if (raw.destroyed) return
      begin()
      raw.write(events)
      if (isFull() && !raw.destroyed) await drained()
    },
    end() {
      stop()
      if (!isStarted) return
      // The client reads what is buffered, or its connection is closed.
      raw.socket?.setTimeout(slowAfterMs)
      raw.end()
    },
  }
}
