import { connect, createServer, type Socket } from 'node:net'
import { listenOnLoopback } from '../support/loopback.ts'

export interface CuttingProxy {
  readonly url: string
  /** Number of connections so far. */
  readonly connections: number
  close(): Promise<void>
}

/** A proxy that cuts each connection after a given number of answer bytes; `undefined` keeps the connection. */
export async function createCuttingProxy(
  target: string,
  bytesOf: (connection: number) => number | undefined,
): Promise<CuttingProxy> {
  const { hostname, port: targetPort } = new URL(target)
  const open = new Set<Socket>()
  let connections = 0
  const server = createServer((client) => {
    let left = bytesOf(connections++) ?? Number.POSITIVE_INFINITY
    const upstream = connect(Number(targetPort), hostname)
    const end = () => {
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) {
      open.add(socket)
      socket.on('error', end)
      socket.on('close', () => {
        open.delete(socket)
        end()
      })
    }
    client.pipe(upstream)
    upstream.on('data', (data) => {
      const chunk = data.subarray(0, left)
      left -= chunk.length
      client.write(chunk, () => {
        if (left === 0) end()
      })
    })
  })
  const port = await listenOnLoopback(server)
  return {
    url: `http://127.0.0.1:${port}`,
    get connections() {
      return connections
    },
    close() {
      for (const socket of open) socket.destroy()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}
