import type { IncomingMessage } from 'node:http'
import { isLoopbackHost } from '../access/origin-check.ts'

/** Headers with which a proxy names the client that it forwards for. */
const FORWARDING_HEADERS = ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip']
/** The form of IPv4 addresses on a socket that accepts IPv6 as well. */
const MAPPED_IPV4 = /^::ffff:(?=\d)/i

/**
 * Whether the client runs on this machine. The app decides where it listens, so that only the connection itself shows
 * this. False for a request that a proxy forwarded: its connection begins on this machine, its client may not.
 */
export function isLocalClient({
  headers,
  socket,
}: Pick<IncomingMessage, 'headers'> & {
  readonly socket: Pick<IncomingMessage['socket'], 'remoteAddress'>
}): boolean {
  const { remoteAddress } = socket
  return (
    remoteAddress !== undefined &&
    isLoopbackHost(remoteAddress.replace(MAPPED_IPV4, '')) &&
    FORWARDING_HEADERS.every((name) => headers[name] === undefined)
  )
}
