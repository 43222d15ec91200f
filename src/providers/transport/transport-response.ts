import type { ResponseHeaders } from './response-headers.ts'

const MAX_ERROR_BYTES = 64 * 1024
const MAX_ANSWER_BYTES = 64 * 1024 * 1024
/** How long the rest of an answer that has been understood is waited for, so that its connection can be used again. */
export const DRAIN_MS = 1_000
/** Some servers make up statuses that no `Response` can be built with. */
const HIGHEST_STATUS = 599

/** Takes one piece of a body, decoded; true: nothing more is wanted. */
export type OnChunk = (piece: Uint8Array) => boolean

export interface ChunkSource {
  /**
   * Reads the body, once. `onPiece` is called synchronously with each piece. Resolves at the end of the body, or when `onPiece` returned true;
   * rejects as the connection fails, and with what `onPiece` throws, after which the connection is closed.
   */
  read(onPiece: OnChunk): Promise<void>
}

/**
 * What the SDKs read of a response, without the streams behind it: `body` is null, `readBody` takes its place. A body of an error is cut to 64 kB, so
 * that no vendor can fill the memory; one that breaks off is still that error, because a 401 must not turn into a connection failure, which is retried.
 */
export class TransportResponse implements Response {
  readonly body = null
  readonly redirected = false
  readonly type = 'default'
  readonly url: string
  readonly status: number
  readonly statusText: string
  readonly headers: ResponseHeaders
  readonly #source: ChunkSource
  #bodyUsed = false

  constructor(url: string, status: number, statusText: string, headers: ResponseHeaders, source: ChunkSource) {
    this.url = url
    this.status = Math.min(status, HIGHEST_STATUS)
    this.statusText = statusText
    this.headers = headers
    this.#source = source
  }

  get ok(): boolean {
    return this.status < 300
  }

  get bodyUsed(): boolean {
    return this.#bodyUsed
  }

  readPieces(onPiece: OnChunk): Promise<void> {
    if (this.#bodyUsed) return Promise.reject(new TypeError('The body has been read before'))
    this.#bodyUsed = true
    return this.#source.read(onPiece)
  }

  bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return readBytes(this)
  }

  text(): Promise<string> {
    return readText(this)
  }

  json(): Promise<unknown> {
    return this.text().then((text): unknown => JSON.parse(text))
  }

  arrayBuffer(): Promise<ArrayBuffer> {
    return this.bytes().then(({ buffer, byteOffset, byteLength }) => buffer.slice(byteOffset, byteOffset + byteLength))
  }

  blob(): Promise<Blob> {
    return this.bytes().then((bytes) => new Blob([bytes], { type: this.headers.get('content-type') ?? '' }))
  }

  formData(): Promise<FormData> {
    return Promise.reject(new TypeError('No vendor answers with a form'))
  }

  clone(): Response {
    throw new TypeError('The answer of a vendor is read once')
  }
}

/** A success whose body is no answer of any vendor. */
export class AnswerTooLong extends Error {
  constructor() {
    super(`more than ${MAX_ANSWER_BYTES} bytes`)
  }
}

const DECODER = new TextDecoder()

/** The body as text. Rejects with AnswerTooLong where a success holds more than 64 MB; the body of an error is cut to 64 kB. */
export const readText = (response: Response): Promise<string> => readBytes(response).then((bytes) => DECODER.decode(bytes))

function readBytes(response: Response): Promise<Buffer<ArrayBuffer>> {
  const { ok } = response
  const limit = ok ? MAX_ANSWER_BYTES : MAX_ERROR_BYTES
  const pieces: Uint8Array[] = []
  let length = 0
  const onPiece = (piece: Uint8Array) => {
    length += piece.length
    if (length > limit && ok) throw new AnswerTooLong()
    pieces.push(piece)
    return length > limit
  }
  const whole = () => Buffer.concat(pieces, Math.min(length, limit))
  return readBody(response, onPiece).then(whole, (error: unknown) => {
    if (ok) throw error
    return whole()
  })
}

/**
 * Reads the body of an answer, whether it came over this transport or by a `fetch` of the account. `onPiece` is called synchronously with each piece;
 * true ends the reading. Rejects as the connection fails and with what `onPiece` throws; then the connection is closed.
 */
export function readBody(response: Response, onPiece: OnChunk): Promise<void> {
  return response instanceof TransportResponse ? response.readPieces(onPiece) : readStream(response.body, onPiece)
}

async function readStream(body: Response['body'], onPiece: OnChunk): Promise<void> {
  if (!body) return
  const reader = body.getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      if (onPiece(value)) {
        void drain(reader)
        return
      }
    }
  } catch (error) {
    void reader.cancel().catch(() => undefined)
    throw error
  }
}

/** Reads the end of a finished body so that its connection can be used again; one that stays open is closed. */
async function drain(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  const timer = setTimeout(() => void reader.cancel().catch(() => undefined), DRAIN_MS)
  timer.unref()
  try {
    while (!(await reader.read()).done);
  } catch {
    // The answer is complete: what happens to its connection now is of no interest.
  } finally {
    clearTimeout(timer)
  }
}
