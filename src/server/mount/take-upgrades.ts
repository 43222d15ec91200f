import { IncomingMessage, type Server } from 'node:http'
import type { Server as SecureServer } from 'node:https'
import { Duplex } from 'node:stream'
import { ignoreUpgrade } from '../raw/ignore-upgrade.ts'

export interface UpgradeTaker {
  /** Whether a request for an upgrade is ours. Others are left to the listeners of the app. */
  isOurs(request: IncomingMessage): boolean
  upgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void
}

/** The listeners that this module has added, of all servers. */
const ownListeners = new WeakSet<object>()

/**
 * Takes upgrade requests out of a server of the app, and returns the function that stops this. They are taken before
 * any listener sees them: listeners of `ws` and Nest answer a path that they do not know with 400, although another
 * listener knows it.
 */
export function takeUpgrades(server: Server | SecureServer, { isOurs, upgrade }: UpgradeTaker): () => void {
  const isForNobody = () => {
    const listeners = server.listeners('upgrade')
    return listeners[0] === listener && listeners.every((other) => ownListeners.has(other))
  }
  // Node emits upgrades only to a server with a listener. With no other one, requests that offer an upgrade are
  // answered without it, as the server did before.
  const listener = (request: IncomingMessage, stream: Duplex, head: Buffer) => {
    if (isForNobody()) ignoreUpgrade(server, request, stream, head)
  }
  ownListeners.add(listener)
  let isStopped = false
  const emit = server.emit
  const taking = (event: string | symbol, ...values: readonly unknown[]): boolean => {
    const [request, stream, head] = values
    const isUpgrade =
      event === 'upgrade' && request instanceof IncomingMessage && stream instanceof Duplex && Buffer.isBuffer(head)
    if (!isUpgrade || isStopped || !isOurs(request)) return Reflect.apply(emit, server, [event, ...values])
    upgrade(request, stream, head)
    return true
  }
  server.emit = taking
  server.on('upgrade', listener)
  return () => {
    isStopped = true
    server.off('upgrade', listener)
    // Somebody else may have replaced it since.
    if (server.emit === taking) server.emit = emit
  }
}
