import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { Server as TlsServer } from 'node:tls'
import { findPendingAnswer } from './pending-answer.ts'

/** Headers that belong to an upgrade request only. */
const UPGRADE_HEADERS: readonly string[] = ['upgrade', 'http2-settings']

/** Whether an upgrade request is for a WebSocket, and not for an optional protocol such as HTTP/2. */
export const wantsWebSocket = ({ headers }: IncomingMessage): boolean =>
  (headers.upgrade ?? '').split(',').some((protocol) => protocol.trim().toLowerCase() === 'websocket')

/**
 * Ignores an upgrade to a protocol that the server does not support, as HTTP allows (RFC 9110, 7.8): clients of Java
 * ask for HTTP/2 with their first request. Node has released the connection by then. It is given back as a new
 * connection that begins with the same request, without the upgrade headers.
 */
export function ignoreUpgrade(server: Server, request: IncomingMessage, stream: Duplex, head: Buffer): void {
  // Without a listener for errors a reset connection would end the process. One is enough for all requests.
  if (stream.listenerCount('error') === 0) stream.on('error', () => stream.destroy())
  // Responses must be sent in the order of their requests.
  const pending = findPendingAnswer(stream)
  if (pending) pending.once('close', () => serveWithoutUpgrade(server, request, stream, head))
  else serveWithoutUpgrade(server, request, stream, head)
}

function serveWithoutUpgrade(server: Server, request: IncomingMessage, stream: Duplex, head: Buffer): void {
  if (stream.destroyed) return
  const { method, url, httpVersion, rawHeaders } = request
  const lines = [`${method} ${url} HTTP/${httpVersion}`]
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    const value = rawHeaders[index + 1] ?? ''
    if (UPGRADE_HEADERS.includes(name.toLowerCase())) continue
    lines.push(`${name}: ${name.toLowerCase() === 'connection' ? withoutUpgrade(value) : value}`)
  }
  stream.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]))
  // A server that speaks TLS reads requests from the decrypted side of a connection.
  server.emit(server instanceof TlsServer ? 'secureConnection' : 'connection', stream)
}

/** The other options of the Connection header, such as `close`. */
const withoutUpgrade = (connection: string): string =>
  connection
    .split(',')
    .map((option) => option.trim())
    .filter((option) => !UPGRADE_HEADERS.includes(option.toLowerCase()))
    .join(', ') || 'keep-alive'
