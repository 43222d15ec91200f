import dns from 'node:dns'
import { syncBuiltinESMExports } from 'node:module'
import { createServer, Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { listenOnLoopback } from '../../support/loopback.ts'

export interface ConnectionWatch {
  /** Where this process wanted to go since the watch began, but for the ports that are its own. */
  readonly attempts: readonly string[]
  /** Connections that a listener got which nobody has a reason to know. */
  readonly bites: number
  readonly baitPort: number
  /** A port that is no secret: of a server of the test. */
  allow(port: number): void
  /** Begins anew: a server that listens looks its own address up. */
  forget(): void
}

/** Sees every connection that this process opens and every name that it looks up, from wherever in it. Ends with the test. */
export async function watchConnections(): Promise<ConnectionWatch> {
  const attempts: string[] = []
  const own = new Set<number>()
  let bites = 0
  const bait = createServer((socket) => {
    bites++
    socket.destroy()
  })
  const baitPort = await listenOnLoopback(bait)

  const { connect } = Socket.prototype
  const names = { lookup: dns.lookup, resolve: dns.resolve, resolve4: dns.resolve4, resolve6: dns.resolve6 }
  const { lookup, resolve, resolve4, resolve6 } = dns.promises
  const namesLater = { lookup, resolve, resolve4, resolve6 }
  const install = (connecting: typeof connect, asking: object, askingLater: object) => {
    Object.assign(Socket.prototype, { connect: connecting })
    Object.assign(dns, asking)
    Object.assign(dns.promises, askingLater)
    syncBuiltinESMExports()
  }
  const seen = (asking: object): object =>
    Object.fromEntries(
      Object.entries(asking).map(([name, ask]) => [
        name,
        (...given: unknown[]) => {
          attempts.push(`name ${given[0]}`)
          return Reflect.apply(ask, dns, given)
        },
      ]),
    )
  function seenConnect(this: Socket, ...given: unknown[]): Socket {
    const [first] = Array.isArray(given[0]) ? given[0] : given
    const { port, host = 'localhost', path } = Object(first)
    if (!own.has(Number(port ?? first))) attempts.push(path === undefined ? `${host}:${port ?? first}` : String(path))
    return Reflect.apply(connect, this, given)
  }
  install(seenConnect, seen(names), seen(namesLater))
  onTestFinished(() => {
    install(connect, names, namesLater)
    bait.close()
  })
  return {
    attempts,
    baitPort,
    allow: (port) => void own.add(port),
    forget: () => {
      attempts.length = 0
    },
    get bites() {
      return bites
    },
  }
}
