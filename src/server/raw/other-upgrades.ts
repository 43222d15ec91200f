import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { findPendingAnswer } from './pending-answer.ts'

/** Headers that only the upgrade needs. */
const OF_THE_UPGRADE: readonly string[] = ['upgrade', 'http2-settings']

/** Whether a request asks for a WebSocket, and not for another protocol that it would go without. */
export const wantsWebSocket = ({ headers }: IncomingMessage): boolean =>
  (headers.upgrade ?? '').split(',').some((protocol) => protocol.trim().toLowerCase() === 'websocket')

/**
 * Passes over an upgrade that the server does not do, as HTTP says: clients of Java ask for HTTP/2 with their first request. Node has given up the connection by
 * then, so that it gets it back as a new one, on which the same request stands without the wish.
 */
export function passOverUpgrade(server: Server, request: IncomingMessage, stream: Duplex, head: Buffer): void {
  // Without a listener a reset connection would end the process; one is enough for however many requests.
  if (stream.listenerCount('error') === 0) stream.on('error', () => stream.destroy())
  // Answers are given in the order of their requests.
  const pending = findPendingAnswer(stream)
  if (pending) pending.once('close', () => serveWithout(server, request, stream, head))
  else serveWithout(server, request, stream, head)
}

function serveWithout(server: Server, request: IncomingMessage, stream: Duplex, head: Buffer): void {
  if (stream.destroyed) return
  const { method, url, httpVersion, rawHeaders } = request
  const lines = [`${method} ${url} HTTP/${httpVersion}`]
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    const value = rawHeaders[index + 1] ?? ''
    if (OF_THE_UPGRADE.includes(name.toLowerCase())) continue
    lines.push(`${name}: ${name.toLowerCase() === 'connection' ? withoutUpgrade(value) : value}`)
  }
  stream.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]))
  server.emit('connection', stream)
}

/** What else a client says of its connection, that it closes it say. */
const withoutUpgrade = (connection: string): string =>
  connection
    .split(',')
    .map((option) => option.trim())
    .filter((option) => !OF_THE_UPGRADE.includes(option.toLowerCase()))
    .join(', ') || 'keep-alive'
