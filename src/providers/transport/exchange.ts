import type { Dispatcher } from 'undici'
import { createDecoder, type Decoder } from './decoder.ts'
import { ResponseHeaders } from './response-headers.ts'
import { type ChunkSource, DRAIN_MS, type OnChunk, TransportResponse } from './transport-response.ts'

/** Maximum bytes buffered before the body is read. Then the connection is paused. */
const MAX_UNREAD_BYTES = 65_536

interface BodyReader {
  readonly onChunk: OnChunk
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

interface Opening {
  readonly resolve: (response: Response) => void
  readonly reject: (error: unknown) => void
}

/**
 * One request and its response, as undici reports them. It is a class because thousands wait at once and a closure per
 * event would use more memory. Chunks are passed to the reader as they arrive, without a queue.
 */
export class Exchange implements Dispatcher.DispatchHandler, ChunkSource {
  readonly #url: string
  readonly #signal: AbortSignal | undefined
  #opening: Opening | undefined
  #controller: Dispatcher.DispatchController | undefined
  #encoding: string | null = null
  #decoder: Decoder | undefined
  #unread: Uint8Array[] = NOTHING
  #unreadBytes = 0
  #reader: BodyReader | undefined
  #hasArrived = false
  #isOver = false
  #failure: unknown
  #drainTimer: NodeJS.Timeout | undefined

  /** `signal` must not be aborted yet. Its abort closes the connection in every phase. */
  constructor(url: string, signal: AbortSignal | undefined, opening: Opening) {
    this.#url = url
    this.#signal = signal
    this.#opening = opening
    signal?.addEventListener('abort', this, { once: true })
  }

  /** Called by the signal on abort. */
  handleEvent(): void {
    this.abort(this.#signal?.reason)
  }

  /** Closes the connection and rejects the pending promises with `reason`. */
  abort(reason: unknown): void {
    if (this.#isOver) return
    this.#fail(reason)
    this.#controller?.abort(new Error('aborted'))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    // The request was aborted while it waited for a connection.
    if (this.#isOver) controller.abort(new Error('aborted'))
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
    statusText = '',
  ): void {
    // Informational responses (1xx) precede the final one.
    if (status < 200) return
    const responseHeaders = new ResponseHeaders(headers)
    this.#encoding = responseHeaders.get('content-encoding')
    this.#opening?.resolve(new TransportResponse(this.#url, status, statusText, responseHeaders, this))
    this.#opening = undefined
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    if (this.#isOver) return
    if (this.#reader) {
      this.#take(chunk)
      return
    }
    if (this.#unread === NOTHING) this.#unread = []
    this.#unread.push(chunk)
    this.#unreadBytes += chunk.length
    if (this.#unreadBytes > MAX_UNREAD_BYTES) controller.pause()
  }

  onResponseEnd(): void {
    this.#hasArrived = true
    if (this.#reader) this.#endBody()
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: unknown): void {
    this.#fail(error)
  }

  read(onChunk: OnChunk): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure)
        return
      }
      this.#reader = { onChunk, resolve, reject }
      const chunks = this.#unread
      this.#unread = NOTHING
      for (const chunk of chunks) this.#take(chunk)
      if (this.#hasArrived) this.#endBody()
      else if (this.#controller?.paused) this.#controller.resume()
    })
  }

  #take(chunk: Uint8Array): void {
    if (this.#encoding !== null) this.#openDecoder(chunk)
    if (!this.#decoder) this.#deliver(chunk)
    else if (!this.#decoder.write(chunk)) this.#controller?.pause()
  }

  #openDecoder(firstChunk: Uint8Array): void {
    this.#decoder = createDecoder(this.#encoding, firstChunk[0] ?? 0, {
      onChunk: (decoded) => this.#deliver(decoded),
      onDrain: () => this.#controller?.resume(),
      onEnd: () => this.#finish(),
      onError: (error) => this.abort(error),
    })
    this.#encoding = null
  }

  #deliver(chunk: Uint8Array): void {
    const reader = this.#reader
    if (!reader || this.#isOver) return
    try {
      if (!reader.onChunk(chunk)) return
    } catch (error) {
      this.abort(error)
      return
    }
    this.#finish()
    if (!this.#hasArrived) this.#drainTimer = setTimeout(closeConnection, DRAIN_MS, this.#controller).unref()
  }

  #endBody(): void {
    clearTimeout(this.#drainTimer)
    if (this.#decoder) this.#decoder.end()
    else this.#finish()
  }

  #finish(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#signal?.removeEventListener('abort', this)
    this.#reader?.resolve()
  }

  #fail(error: unknown): void {
    clearTimeout(this.#drainTimer)
    if (this.#isOver) return
    this.#isOver = true
    this.#failure = error ?? new Error('aborted')
    this.#signal?.removeEventListener('abort', this)
    this.#decoder?.destroy()
    this.#unread = NOTHING
    this.#opening?.reject(this.#failure)
    this.#reader?.reject(this.#failure)
  }
}

const NOTHING: Uint8Array[] = []

const closeConnection = (controller: Dispatcher.DispatchController | undefined) => controller?.abort(new Error('not needed'))
