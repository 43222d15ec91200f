import type { Dispatcher } from 'undici'
import { createDecoder, type Decoder } from './decoder.ts'
import { ResponseHeaders } from './response-headers.ts'
import { type ChunkSource, DRAIN_MS, type OnChunk, TransportResponse } from './transport-response.ts'

/** Bytes that may wait for somebody to read the answer; more is held back on the connection. */
const MAX_UNREAD_BYTES = 65_536

interface BodyReader {
  readonly onPiece: OnChunk
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

interface Opening {
  readonly resolve: (response: Response) => void
  readonly reject: (error: unknown) => void
}

/**
 * One request and its answer, as undici reports them. A class, because thousands wait at once and closures for each of its events would weigh more.
 * Nothing is queued for a reader: pieces go to it as they arrive.
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

  /** `signal` must not be aborted yet; it closes the connection in every phase. */
  constructor(url: string, signal: AbortSignal | undefined, opening: Opening) {
    this.#url = url
    this.#signal = signal
    this.#opening = opening
    signal?.addEventListener('abort', this, { once: true })
  }

  /** Called by the signal. */
  handleEvent(): void {
    this.abort(this.#signal?.reason)
  }

  /** Closes the connection; whoever waits gets `reason`. */
  abort(reason: unknown): void {
    if (this.#isOver) return
    this.#fail(reason)
    this.#controller?.abort(new Error('aborted'))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    // It was aborted while it waited for a connection.
    if (this.#isOver) controller.abort(new Error('aborted'))
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
    statusText = '',
  ): void {
    // Informational answers come before the one that counts.
    if (status < 200) return
    const responseHeaders = new ResponseHeaders(headers)
    this.#encoding = responseHeaders.get('content-encoding')
    this.#opening?.resolve(new TransportResponse(this.#url, status, statusText, responseHeaders, this))
    this.#opening = undefined
  }

  onResponseData(controller: Dispatcher.DispatchController, piece: Uint8Array): void {
    if (this.#isOver) return
    if (this.#reader) {
      this.#take(piece)
      return
    }
    if (this.#unread === NOTHING) this.#unread = []
    this.#unread.push(piece)
    this.#unreadBytes += piece.length
    if (this.#unreadBytes > MAX_UNREAD_BYTES) controller.pause()
  }

  onResponseEnd(): void {
    this.#hasArrived = true
    if (this.#reader) this.#endBody()
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: unknown): void {
    this.#fail(error)
  }

  read(onPiece: OnChunk): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure)
        return
      }
      this.#reader = { onPiece, resolve, reject }
      const pieces = this.#unread
      this.#unread = NOTHING
      for (const piece of pieces) this.#take(piece)
      if (this.#hasArrived) this.#endBody()
      else if (this.#controller?.paused) this.#controller.resume()
    })
  }

  #take(piece: Uint8Array): void {
    if (this.#encoding !== null) this.#openDecoder(piece)
    if (!this.#decoder) this.#deliver(piece)
    else if (!this.#decoder.write(piece)) this.#controller?.pause()
  }

  #openDecoder(firstPiece: Uint8Array): void {
    this.#decoder = createDecoder(this.#encoding, firstPiece[0] ?? 0, {
      onPiece: (decoded) => this.#deliver(decoded),
      onDrain: () => this.#controller?.resume(),
      onEnd: () => this.#finish(),
      onError: (error) => this.abort(error),
    })
    this.#encoding = null
  }

  #deliver(piece: Uint8Array): void {
    const reader = this.#reader
    if (!reader || this.#isOver) return
    try {
      if (!reader.onPiece(piece)) return
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
