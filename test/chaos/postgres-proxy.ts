import { connect, createServer, type Socket } from 'node:net'
import { listenOnLoopback } from '../support/loopback.ts'

/** A moment of a write of the journal: before the database receives it, or when it is committed but not acknowledged. */
export const WRITE_MOMENTS = ['unsent', 'unacknowledged'] as const
export type WriteMoment = (typeof WRITE_MOMENTS)[number]

export interface PostgresProxyOptions {
  /** URL of the database that the proxy passes everything to. */
  readonly target: string
  /**
   * Called at each moment of each write of the journal; `number` counts the writes from 1. If it returns true, nothing
   * is passed on from then on.
   */
  readonly onWrite: (moment: WriteMoment, number: number) => boolean
}

export interface PostgresProxy {
  /** URL of the same database through the proxy. */
  readonly url: string
  close(): Promise<void>
}

// Prepared statements of the journal have this prefix, which every Bind message repeats.
const JOURNAL = Buffer.from('polyphony_journal_')

/**
 * A connection to Postgres that a test can cut at an exact write. It needs no code in the product: it reads the names of
 * prepared statements in the protocol.
 */
export async function createPostgresProxy({ target, onWrite }: PostgresProxyOptions): Promise<PostgresProxy> {
  const { hostname, port } = new URL(target)
  const sockets = new Set<Socket>()
  let writes = 0

  const server = createServer((client) => {
    const database = connect({ host: hostname, port: Number(port || 5432) })
    let unacknowledged: number | undefined
    let isCut = false
    for (const socket of [client, database]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => undefined)
      socket.once('close', () => {
        sockets.delete(socket)
        client.destroy()
        database.destroy()
      })
    }
    client.on('data', (bytes: Buffer) => {
      if (!isCut && bytes.includes(JOURNAL)) {
        const number = ++writes
        isCut = onWrite('unsent', number)
        unacknowledged = number
      }
      if (!isCut) database.write(bytes)
    })
    database.on('data', (bytes: Buffer) => {
      if (!isCut && unacknowledged !== undefined) {
        isCut = onWrite('unacknowledged', unacknowledged)
        unacknowledged = undefined
      }
      if (!isCut) client.write(bytes)
    })
  })
  const ownPort = await listenOnLoopback(server)
  const url = new URL(target)
  url.hostname = '127.0.0.1'
  url.port = String(ownPort)
  return {
    url: url.href,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}
