import { once } from 'node:events'
import { onTestFinished } from 'vitest'
import { WebSocket } from 'ws'
import { SOCKET_PROTOCOL } from '../../src/protocol/socket.ts'

export type Frame = Readonly<Record<string, unknown>> & { readonly type: string }

export interface SocketClient {
  readonly socket: WebSocket
  readonly frames: readonly Frame[]
  send(frame: unknown): void
  /** The first frame, of those that came or will come, that fits; it is not handed out again. */
  next(fits: (frame: Frame) => boolean): Promise<Frame>
  closed: Promise<{ readonly code: number; readonly reason: string }>
}

export interface ConnectOptions {
  readonly key?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly protocols?: readonly string[]
}

/** A WebSocket that remembers what it was sent. Ends with the test. */
export async function connect(
  url: string,
  { key, headers, protocols = [SOCKET_PROTOCOL] }: ConnectOptions = {},
): Promise<SocketClient> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`, [...protocols], {
    headers: { ...(key === undefined ? {} : { authorization: `Bearer ${key}` }), ...headers },
  })
  onTestFinished(() => socket.terminate())
  const frames: Frame[] = []
  const handedOut = new Set<Frame>()
  const waiting = new Set<() => void>()
  socket.on('message', (data) => {
    frames.push(JSON.parse(String(data)))
    for (const look of waiting) look()
  })
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on('close', (code, reason) => resolve({ code, reason: String(reason) }))
  })
  await Promise.race([once(socket, 'open'), once(socket, 'error').then(([error]) => Promise.reject(error))])
  socket.on('error', () => {})
  return {
    socket,
    frames,
    closed,
    send: (frame) => socket.send(JSON.stringify(frame)),
    next: (fits) =>
      new Promise((resolve) => {
        const look = () => {
          const found = frames.find((frame) => !handedOut.has(frame) && fits(frame))
          if (!found) return
          handedOut.add(found)
          waiting.delete(look)
          resolve(found)
        }
        waiting.add(look)
        look()
      }),
  }
}

/** Status with which an upgrade is answered that is refused; 101 where it is not. */
export async function upgradeStatus(url: string, options: ConnectOptions = {}): Promise<number> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`, [...(options.protocols ?? [SOCKET_PROTOCOL])], {
    headers: { ...(options.key === undefined ? {} : { authorization: `Bearer ${options.key}` }), ...options.headers },
  })
  return new Promise((resolve) => {
    socket.on('open', () => {
      socket.terminate()
      resolve(101)
    })
    socket.on('unexpected-response', (_, answer) => {
      socket.terminate()
      resolve(answer.statusCode ?? 0)
    })
    socket.on('error', () => {})
  })
}
