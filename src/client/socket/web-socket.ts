/** What a WebSocket tells its listeners, as far as the client reads it. */
export interface SocketEvent {
  readonly type: string
  readonly data?: unknown
  readonly code?: number
  readonly reason?: string
  readonly message?: string
}

/** The part of a WebSocket that the client uses: those of browsers, of Node 22 and of `ws` have it. */
export interface SocketLike {
  send(text: string): void
  close(code?: number, reason?: string): void
  addEventListener(type: string, listener: (event: SocketEvent) => void): void
}

/** The third argument is given with `socketAuth: 'header'` only; browsers do not take it. */
export type SocketConstructor = new (
  url: string,
  protocols?: string[],
  options?: { headers: Record<string, string> },
) => SocketLike

/** The platform's own; `undefined` where it has none, as in Node 20. */
export function findGlobalWebSocket(): SocketConstructor | undefined {
  const found: unknown = Reflect.get(globalThis, 'WebSocket')
  return isConstructor(found) ? found : undefined
}

// A page could put anything there; then opening it fails, and is told as that.
const isConstructor = (value: unknown): value is SocketConstructor => typeof value === 'function'
