import type { ServerResponse } from 'node:http'
import { createLoopback, type LoopbackRequest } from './loopback.ts'

/** One scripted answer of a vendor, byte for byte. */
export interface VendorAnswer {
  /** Default 200. */
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Text is sent as UTF-8; anything else as JSON. */
  readonly body?: unknown
  /** Cuts the body into packets at places drawn from this seed, also inside characters. Default: one packet. */
  readonly seed?: number
  /** After the body: `end` (default), `drop` the connection, or `hang` open. */
  readonly after?: 'end' | 'drop' | 'hang'
  /** Accepts the request and sends nothing, not even headers; with `drop` it closes the connection. */
  readonly instead?: 'hang' | 'drop'
}

export type SeenRequest = Pick<LoopbackRequest, 'method' | 'path' | 'headers' | 'body'>

export interface VendorServer {
  readonly url: string
  /** Every request so far, in order of arrival. */
  readonly requests: readonly SeenRequest[]
  /** Answers for the next requests, in order; the last one stays. */
  answer(...answers: readonly VendorAnswer[]): void
  /** Resolves when the next request has arrived and what is scripted before a hang was sent. */
  nextIdle(): Promise<void>
  /** Resolves when the client has closed the connection of the request answered last. */
  clientClosed(): Promise<void>
  close(): Promise<void>
}

export const SSE_HEADERS = { 'content-type': 'text/event-stream; charset=utf-8' } as const

/** The wire form of events: objects become JSON data, texts stay as they are. */
export const sse = (...events: readonly unknown[]): string =>
  events.map((event) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`).join('')

/** A vendor on loopback that plays scripted bytes, for adapters that must cope with what vendors really send. */
export async function createVendorServer(): Promise<VendorServer> {
  const requests: SeenRequest[] = []
  const idleWaiters: (() => void)[] = []
  let script: readonly VendorAnswer[] = []
  let closed = Promise.resolve()

  const { url, close } = await createLoopback(async ({ method, path, headers, body, response, closed: responseClosed }) => {
    closed = responseClosed
    requests.push({ method, path, headers, body })
    const answer = script[0] ?? { status: 500, body: { error: { message: 'nothing scripted' } } }
    if (script.length > 1) script = script.slice(1)
    if (answer.instead === 'drop') response.socket?.destroy()
    if (!answer.instead) await send(response, answer)
    idleWaiters.shift()?.()
  })

  return {
    url,
    requests,
    answer(...answers) {
      script = answers
    },
    nextIdle: () => new Promise((resolve) => idleWaiters.push(resolve)),
    clientClosed: () => closed,
    close,
  }
}

async function send(
  response: ServerResponse,
  { status = 200, headers, body = '', seed, after = 'end' }: VendorAnswer,
): Promise<void> {
  const isText = typeof body === 'string'
  response.writeHead(status, { 'content-type': isText ? 'text/plain' : 'application/json', ...headers })
  response.flushHeaders()
  response.socket?.setNoDelay(true)
  const bytes = Buffer.from(isText ? body : JSON.stringify(body), 'utf8')
  for (const piece of seed === undefined ? [bytes] : toPieces(bytes, seed)) {
    if (response.destroyed) return
    await new Promise((resolve) => response.write(piece, resolve))
    // One turn of the loop per piece, so that each leaves as a packet of its own.
    await new Promise((resolve) => setImmediate(resolve))
  }
  if (after === 'end') response.end()
  if (after === 'drop') response.socket?.destroy()
}

/** Pieces of 1 to 40 bytes, so that many cuts fall inside characters, line ends and JSON. */
function toPieces(bytes: Buffer, seed: number): readonly Buffer[] {
  const pieces: Buffer[] = []
  let state = seed
  for (let start = 0; start < bytes.length; ) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    const length = 1 + ((state >> 8) % 40)
    pieces.push(bytes.subarray(start, start + length))
    start += length
  }
  return pieces
}
