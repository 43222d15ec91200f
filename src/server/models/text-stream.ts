import type { FastifyReply } from 'fastify'
import type { ServerSettings } from '../../config/config.ts'
import { beginEvents } from '../streaming/begin-events.ts'

export interface TextStreamOptions {
  readonly limits: Pick<ServerSettings['sockets'], 'maxBufferedBytes' | 'slowAfterMs'>
  /** Milliseconds between comments that keep proxies and clients from giving a quiet stream up. */
  readonly heartbeatMs: number
}

/**
 * Server-sent events of one answer. Nothing is sent before the first of them: until then an error may still be told
 * with its status.
 */
export interface TextStream {
  readonly hasBegun: boolean
  /** Writes events, and resolves when there is room for more. A reader that takes nothing for too long is cut off. */
  write(events: string): Promise<void>
  end(): void
}

export function openTextStream(reply: FastifyReply, { limits, heartbeatMs }: TextStreamOptions): TextStream {
  const { raw } = reply
  const { maxBufferedBytes, slowAfterMs } = limits
  let hasBegun = false

  const begin = () => {
    if (hasBegun) return
    hasBegun = true
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

  const room = () =>
    new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer)
        raw.off('drain', done)
        raw.off('close', done)
        resolve()
      }
      const timer = setTimeout(() => raw.destroy(), slowAfterMs).unref()
      raw.once('drain', done)
      raw.once('close', done)
    })

  return {
    get hasBegun() {
      return hasBegun
    },
    async write(events) {
      if (raw.destroyed) return
      begin()
      raw.write(events)
      if (isFull() && !raw.destroyed) await room()
    },
    end() {
      stop()
      if (!hasBegun) return
      // What still waits is taken, or the connection is given up.
      raw.socket?.setTimeout(slowAfterMs)
      raw.end()
    },
  }
}
