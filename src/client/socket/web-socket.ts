/** The fields of WebSocket events that the client reads. */
export interface SocketEvent {
  readonly type: string
  readonly data?: unknown
  readonly code?: number
  readonly reason?: string
  readonly message?: string
}

/** The methods of a WebSocket that the client uses. The classes of browsers, of Node 22 and of `ws` have them. */
export interface SocketLike {
  send(text: string): void
  close(code?: number, reason?: string): void
  addEventListener(type: string, listener: (event: SocketEvent) => void): void
}

/** Opens a WebSocket. The third argument is passed only with `socketAuth: 'header'`, which browsers do not support. */
export type SocketConstructor = new (
  url: string,
  protocols?: string[],
  options?: { headers: Record<string, string> },
) => SocketLike

/** The WebSocket of the platform; `undefined` if it has none, as in Node 20. */
export function findGlobalWebSocket(): SocketConstructor | undefined {
  const found: unknown = Reflect.get(globalThis, 'WebSocket')
  return isConstructor(found) ? found : undefined
}

// A page could replace the global by something else; opening the socket then fails with NETWORK.
const isConstructor = (value: unknown): value is SocketConstructor => typeof value === 'function'
