import type { BroadcastTransport } from './notification.ts'

export interface RedisTransportOptions {
  /** `redis://` or `rediss://`. */
  readonly url: string
  /** Redis has one name space of channels for all of its databases. */
  readonly channel?: string
}

const CONNECT_TIMEOUT_MS = 10_000
const CHANNEL = 'polyphony:notifications'

/**
 * Carries frames by publish and subscribe of Redis. It is not a Redis Stream: frames hold pointers to rows of the
 * database, which every reader reads after a lost connection anyway, so nothing would ever be read from a stream again.
 * Redis needs two connections, because a connection with a subscription accepts no other command.
 */
export const createRedisTransport = ({ url, channel = CHANNEL }: RedisTransportOptions): BroadcastTransport => ({
  maxFrameBytes: 65_536,
  async connect({ onFrame, onLost }) {
    const { Redis } = await import('ioredis')
    // The bus connects again itself, because it must greet the other processes then.
    const options = {
      lazyConnect: true,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      connectTimeout: CONNECT_TIMEOUT_MS,
      retryStrategy: () => null,
    }
    const [reader, writer] = [new Redis(url, options), new Redis(url, options)]
    let isClosed = false
    const close = () => {
      isClosed = true
      reader.disconnect()
      writer.disconnect()
    }
    for (const client of [reader, writer]) {
      client.on('error', () => {})
      client.on('end', () => {
        if (isClosed) return
        close()
        onLost()
      })
    }
    try {
      await Promise.all([reader.connect(), writer.connect()])
      reader.on('message', (_channel, frame) => onFrame(frame))
      await reader.subscribe(channel)
    } catch (error) {
      close()
      throw error
    }
    return {
      async send(frames) {
        const replies = await writer.pipeline(frames.map((frame) => ['publish', channel, frame])).exec()
        const error = replies?.find(([failure]) => failure)?.[0]
        if (error) throw error
      },
      async close() {
        close()
      },
    }
  },
})
