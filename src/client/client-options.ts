import type { SocketConstructor } from './socket/web-socket.ts'
import type { WaitFor } from './timing.ts'

/** A request before it is sent. Headers may be added; the Authorization header is added later. */
export interface OutgoingRequest {
  readonly method: string
  readonly url: string
  readonly headers: Headers
  /** Number of the attempt, from 1. */
  readonly attempt: number
}

/** Address, credentials and settings of a client. */
export interface ClientOptions {
  /**
   * Address of the server, such as `https://flows.example.com`, with the path prefix of a proxy if there is one. In a
   * page it may be relative: `/`.
   */
  readonly baseUrl: string
  /** A key from `polyphony keys create`. Must not be put into a page: everyone who opens the page can read it. */
  readonly apiKey?: string
  /**
   * Instead of a key: a token of the configured issuer, or a function that returns one. The function is called before
   * every request and every reconnection.
   */
  readonly token?: string | (() => string | Promise<string>)
  /** Default: the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch
  /** Headers of every request. */
  readonly headers?: Readonly<Record<string, string>>
  /** Called before every attempt. The call rejects with the error that it throws. */
  readonly onRequest?: (request: OutgoingRequest) => void | Promise<void>
  /** Maximum number of retries of a call that may be repeated; default 3. */
  readonly maxRetries?: number
  /** Milliseconds for one attempt of a call; default 60,000. */
  readonly timeoutMs?: number
  /** Used by `socket()`; default: the global `WebSocket`. Node 20 has none, so pass the one of `ws`. */
  readonly WebSocket?: SocketConstructor
  /**
   * How a WebSocket authenticates. `header`: with the Authorization header, which browsers cannot send; the default if
   * `WebSocket` is given. `ticket`: with a single-use ticket, requested over HTTP; the default otherwise.
   */
  readonly socketAuth?: 'header' | 'ticket'
  /** How the client waits between attempts; for tests. */
  readonly wait?: WaitFor
  /** Returns a number of at least 0 and less than 1; for tests. */
  readonly random?: () => number
}
