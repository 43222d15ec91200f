import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { connect, createServer as createTcpServer, type Server } from 'node:net'

export interface LoopbackRequest {
  readonly method: string
  /** Path with its query. */
  readonly path: string
  /** First segment of the path. */
  readonly endpoint: string
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** The text as parsed JSON, or the text itself where it is no JSON. */
  readonly body: unknown
  readonly response: ServerResponse
  /** Resolves when the connection of this request is gone or its answer is complete. */
  readonly closed: Promise<void>
}

export interface Loopback {
  readonly url: string
  /** Ends every connection. */
  close(): Promise<void>
}

/** A server on loopback that hands every request, read to its end, to `play`. */
export async function createLoopback(play: (request: LoopbackRequest) => unknown): Promise<Loopback> {
  const server = createServer((request, response) => {
    const closed = new Promise<void>((resolve) => response.once('close', resolve))
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    // Tests cut connections on purpose, also in the middle of a request.
    request.on('error', () => undefined)
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8')
      const { method = '', url: path = '', headers } = request
      play({ method, path, endpoint: path.split('/')[1] ?? '', headers, text, body: parseOrText(text), response, closed })
    })
  })
  server.keepAliveTimeout = 60_000
  const port = await listenOnLoopback(server)
  return {
    url: `http://127.0.0.1:${port}`,
    close() {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

/**
 * An address that refuses connections until it is closed. A connection goes out from its port, so that the system gives
 * the port to no server meanwhile.
 */
export async function createRefusedAddress(): Promise<Loopback> {
  const server = createTcpServer()
  const socket = connect(await listenOnLoopback(server), '127.0.0.1')
  await new Promise((resolve) => socket.once('connect', resolve))
  return {
    url: `http://127.0.0.1:${socket.localPort}`,
    close() {
      socket.destroy()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

/** Starts the server on a port of 127.0.0.1 that the system chooses, and resolves with the port. */
export async function listenOnLoopback(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (typeof address !== 'object' || !address) throw new Error('expected a port')
  return address.port
}

function parseOrText(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
