import { connect, createServer, type Socket } from 'node:net'
import { listenOnLoopback } from '../../support/loopback.ts'

/**
 * What becomes of a commit: `pass`; `lost` before the database gets it; `unacknowledged`, so that it is carried out and
 * its answer is lost; or it is held until a promise settles.
 */
export type CommitFate = 'pass' | 'lost' | 'unacknowledged' | Promise<void>

// The simple query of `inTransaction`.
const COMMIT = Buffer.from('commit\0')

/** A connection to Postgres on which a test decides about every commit. */
export async function createCommitProxy(target: string, fateOf: (number: number) => CommitFate) {
  const { hostname, port } = new URL(target)
  const sockets = new Set<Socket>()
  let commits = 0
  const server = createServer((client) => {
    const database = connect({ host: hostname, port: Number(port || 5432) })
    let isUnacknowledged = false
    const end = () => {
      client.destroy()
      database.destroy()
    }
    for (const socket of [client, database]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => undefined)
      socket.once('close', () => {
        sockets.delete(socket)
        end()
      })
    }
    client.on('data', (bytes: Buffer) => {
      const fate = bytes.includes(COMMIT) ? fateOf(++commits) : 'pass'
      if (fate === 'lost') return end()
      if (fate === 'unacknowledged') isUnacknowledged = true
      // Until its answer comes, a client sends nothing after a commit.
      if (typeof fate === 'string') database.write(bytes)
      else void fate.then(() => database.write(bytes))
      return undefined
    })
    database.on('data', (bytes: Buffer) => {
      if (isUnacknowledged) end()
      else client.write(bytes)
    })
  })
  const own = new URL(target)
  own.hostname = '127.0.0.1'
  own.port = String(await listenOnLoopback(server))
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: own.href,
    /** Ends every connection; new ones are possible. */
    cut,
    close: () =>
      new Promise<void>((resolve) => {
        cut()
        server.close(() => resolve())
      }),
  }
}
