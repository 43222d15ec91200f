import { type IncomingMessage, request as openRequest, type Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { Readable } from 'node:stream'
import { createConnectionPair } from './connection-pair.ts'

/** What a web-standard request does not carry. */
export interface FetchOptions {
  /**
   * Address of the client, as the connection of the app shows it. Without one the client counts as unknown: it needs a
   * key, and shares its limit of failed authentications with all others.
   */
  readonly remoteAddress?: string
}

export interface WebFetch {
  /**
   * Answers a request whose target was stripped of the prefix of the app. Rejects when its signal is aborted before the
   * head of the answer.
   */
  fetch(request: Request, target: string, options: FetchOptions): Promise<Response>
  /** Closes the connections whose answers are not complete. */
  close(): void
}

/** Headers of one connection, which say nothing about the next (RFC 9110, 7.6.1). */
const CONNECTION_HEADERS = [
  'connection',
  'expect',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]
const EMPTY_STATUSES = [204, 205, 304]

/**
 * Answers web-standard requests by an HTTP server, over connections within this process: bodies, streams, limits and
 * clients that leave are treated as on the network, by the same code.
 */
export function createWebFetch(server: Server): WebFetch {
  const open = new Set<Duplex>()
  return {
    async fetch(request, target, { remoteAddress }) {
      if (request.bodyUsed) {
        throw new TypeError(
          'fetch: expected a request whose body was not read, found one whose body was: pass `request.clone()` before',
        )
      }
      request.signal.throwIfAborted()
      const pair = createConnectionPair(remoteAddress)
      open.add(pair.server)
      pair.server.once('close', () => open.delete(pair.server))
      server.emit('connection', pair.server)
      const leave = () => pair.client.destroy()
      request.signal.addEventListener('abort', leave)
      pair.client.once('close', () => request.signal.removeEventListener('abort', leave))
      const incoming = await exchange(request, target, pair.client)
      return toResponse(incoming, request.method, leave)
    },
    close() {
      for (const stream of open) stream.destroy()
    },
  }
}

/** Sends the request. Resolves with the head of the answer, which may come before the body was sent. */
function exchange(request: Request, target: string, connection: Duplex): Promise<IncomingMessage> {
  const { method, body, signal } = request
  return new Promise((resolve, reject) => {
    const outgoing = openRequest({ createConnection: () => connection, method, path: target, headers: toHeaders(request) })
    const source = body === null ? undefined : Readable.fromWeb(body)
    let answer: IncomingMessage | undefined
    outgoing.once('response', (incoming) => {
      answer = incoming
      resolve(incoming)
    })
    // After the head of the answer a failure shows where the answer is read.
    outgoing.on('error', (error) => reject(signal.aborted ? signal.reason : error))
    connection.once('close', () => {
      source?.unpipe(outgoing)
      // A client that is still sending when its request is refused reads the answer after that, so the rest is skipped
      // as Node does it; cancelling it would close the connection of the client.
      if (answer?.complete) source?.resume()
      else source?.destroy()
    })
    if (source === undefined) {
      outgoing.end()
      return
    }
    source.on('error', () => outgoing.destroy())
    source.pipe(outgoing)
  })
}

function toHeaders({ headers, url, body }: Request): Record<string, string> {
  const sent: Record<string, string> = { host: new URL(url).host }
  for (const [name, value] of headers) if (!CONNECTION_HEADERS.includes(name)) sent[name] = value
  if (body === null) delete sent['content-length']
  return sent
}

function toResponse(incoming: IncomingMessage, method: string, leave: () => void): Response {
  const { statusCode = 500, rawHeaders } = incoming
  const headers = new Headers()
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const [name = '', value = ''] = rawHeaders.slice(index, index + 2)
    if (!CONNECTION_HEADERS.includes(name.toLowerCase())) headers.append(name, value)
  }
  const isEmpty = method === 'HEAD' || EMPTY_STATUSES.includes(statusCode)
  if (isEmpty) incoming.once('end', leave).resume()
  return new Response(isEmpty ? null : toWebStream(incoming, leave), { status: statusCode, headers })
}

/** The body of an answer, read as fast as its reader asks for it. A reader that cancels leaves the connection. */
function toWebStream(incoming: IncomingMessage, leave: () => void): ReadableStream<Uint8Array> {
  let isOver = false
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const end = (settle: () => void) => {
        if (isOver) return
        isOver = true
        settle()
        leave()
      }
      incoming.on('data', (chunk: Buffer) => {
        if (isOver) return
        controller.enqueue(chunk)
        if ((controller.desiredSize ?? 0) <= 0) incoming.pause()
      })
      incoming.once('end', () => end(() => controller.close()))
      incoming.once('error', (error) => end(() => controller.error(error)))
      incoming.once('close', () => end(() => controller.error(new Error('The answer was not sent completely'))))
    },
    pull: () => void incoming.resume(),
    cancel() {
      isOver = true
      leave()
    },
  })
}
