import type { SocketConstructor } from './socket/web-socket.ts'
import type { WaitFor } from './timing.ts'

/** What is about to be sent; headers may be added. The key is not among them. */
export interface OutgoingRequest {
  readonly method: string
  readonly url: string
  readonly headers: Headers
  /** From 1. */
  readonly attempt: number
}

/** Where the server is, who the caller is, and how requests are sent. */
export interface ClientOptions {
  /** Address of the server, with the path under which a proxy shows it: `https://flows.example.com`. In a page it may be relative: `/`. */
  readonly baseUrl: string
  /** A key of `polyphony keys create`. Never put one into a page: whoever opens the page has it. */
  readonly apiKey?: string
  /** Instead of a key: a token of the configured issuer, or what gives a fresh one. Asked before every request and every reconnection. */
  readonly token?: string | (() => string | Promise<string>)
  /** Default: the global one. */
  readonly fetch?: typeof globalThis.fetch
  /** Sent with every request. */
  readonly headers?: Readonly<Record<string, string>>
  /** Called before every try. What it throws ends the call. */
  readonly onRequest?: (request: OutgoingRequest) => void | Promise<void>
  /** How often a call that may be repeated is repeated; default 3. */
  readonly maxRetries?: number
  /** Milliseconds for one try of a call; default 60,000. */
  readonly timeoutMs?: number
  /** For `socket()`; default: the global one. `ws` on Node 20. */
  readonly WebSocket?: SocketConstructor
  /**
   * How a WebSocket says who it is. `header`: the Authorization header, which browsers cannot send; default where `WebSocket` is given.
   * `ticket`: a single-use ticket, asked for over HTTP; default otherwise.
   */
  readonly socketAuth?: 'header' | 'ticket'
  /** How the client waits between tries; for tests. */
  readonly wait?: WaitFor
  /** From 0 up to, not including, 1; for tests. */
  readonly random?: () => number
}
