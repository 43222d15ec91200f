import type { ResponseHeaders } from './response-headers.ts'

const MAX_ERROR_BYTES = 64 * 1024
const MAX_ANSWER_BYTES = 64 * 1024 * 1024
/** Milliseconds for reading the rest of a body after its end mark, so that the connection can be reused. */
export const DRAIN_MS = 1_000
/** Some servers send statuses beyond those that a `Response` can hold. */
const HIGHEST_STATUS = 599

/** Receives one decoded chunk of a body. Returns true to end the reading. */
export type OnChunk = (chunk: Uint8Array) => boolean

export interface ChunkSource {
  /**
   * Reads the body, once. `onChunk` is called synchronously with each chunk. Resolves at the end of the body, or when
   * `onChunk` returned true. Rejects with the error of the connection or of `onChunk`, and then closes the connection.
   */
  read(onChunk: OnChunk): Promise<void>
}

/**
 * The part of a `Response` that the SDKs read, without streams: `body` is null, and `readBody` replaces it. The body of
 * an error is cut to 64 kB, so that no vendor can fill the memory. If it breaks off, the status still counts: a 401
 * must not become a connection failure, which would be retried.
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

  readChunks(onChunk: OnChunk): Promise<void> {
    if (this.#bodyUsed) return Promise.reject(new TypeError('The body has been read before'))
    this.#bodyUsed = true
    return this.#source.read(onChunk)
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
    return Promise.reject(new TypeError('Responses of vendors hold no form data'))
  }

  clone(): Response {
    throw new TypeError('The body of a response can be read only once')
  }
}

/** A successful response with a body too long for an answer. */
export class AnswerTooLong extends Error {
  constructor() {
    super(`more than ${MAX_ANSWER_BYTES} bytes`)
  }
}

const DECODER = new TextDecoder()

/**
 * The body as text. Rejects with AnswerTooLong if a success holds more than 64 MB. The body of an error is cut to 64
 * kB.
 */
export const readText = (response: Response): Promise<string> => readBytes(response).then((bytes) => DECODER.decode(bytes))

function readBytes(response: Response): Promise<Buffer<ArrayBuffer>> {
  const { ok } = response
  const limit = ok ? MAX_ANSWER_BYTES : MAX_ERROR_BYTES
  const chunks: Uint8Array[] = []
  let length = 0
  const onChunk = (chunk: Uint8Array) => {
    length += chunk.length
    if (length > limit && ok) throw new AnswerTooLong()
    chunks.push(chunk)
    return length > limit
  }
  const whole = () => Buffer.concat(chunks, Math.min(length, limit))
  return readBody(response, onChunk).then(whole, (error: unknown) => {
    if (ok) throw error
    return whole()
  })
}

/**
 * Reads the body of a response of this transport or of the account's own `fetch`. `onChunk` is called synchronously
 * with each chunk and ends the reading by returning true. Rejects with the error of the connection or of `onChunk`, and
 * then closes the connection.
 */
export function readBody(response: Response, onChunk: OnChunk): Promise<void> {
  return response instanceof TransportResponse ? response.readChunks(onChunk) : readStream(response.body, onChunk)
}

async function readStream(body: Response['body'], onChunk: OnChunk): Promise<void> {
  if (!body) return
  const reader = body.getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      if (onChunk(value)) {
        void drain(reader)
        return
      }
    }
  } catch (error) {
    void reader.cancel().catch(() => undefined)
    throw error
  }
}

/**
 * Reads the rest of a body after its end mark so that the connection can be reused. Closes it if the rest does not end.
 */
async function drain(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  const timer = setTimeout(() => void reader.cancel().catch(() => undefined), DRAIN_MS)
  timer.unref()
  try {
    while (!(await reader.read()).done);
  } catch {
    // The answer is complete, so errors of its connection no longer matter.
  } finally {
    clearTimeout(timer)
  }
}
