import type { SOCKET_PROTOCOL } from '../../protocol/socket.ts'
import { linkAbort, rejectOnAbort } from '../abort.ts'
import type { ClientOptions } from '../client-options.ts'
import { asJson, type Transport } from '../http/transport.ts'
import { inputError, networkError, PolyphonyError } from '../polyphony-error.ts'
import { isRecoverable } from '../stream-flow.ts'
import { startIdleTimer, startTimer } from '../timing.ts'
import type { Ticket } from '../wire.ts'
import { findGlobalWebSocket, type SocketEvent, type SocketLike } from './web-socket.ts'

export interface SocketLinkDeps extends Pick<ClientOptions, 'WebSocket' | 'socketAuth' | 'headers'> {
  readonly transport: Transport
}

export interface LinkOptions {
  /** Milliseconds between pings. */
  readonly pingMs: number
  /** Milliseconds without any message after which a connection counts as dead. */
  readonly idleTimeoutMs: number
  readonly signal: AbortSignal
  /** Called when the connection is open; `send` may be called until the link is closed. */
  readonly onOpen: (send: (text: string) => void) => void
  readonly onText: (text: string) => void
}

/** Why a link has ended. */
export interface Closed {
  readonly error: PolyphonyError
  readonly mayReconnect: boolean
}

const PROTOCOL: typeof SOCKET_PROTOCOL = 'polyphony.v1'
const PING = JSON.stringify({ type: 'ping' })

/** Opens one WebSocket and resolves when it has ended. Never rejects. */
export async function runLink(deps: SocketLinkDeps, options: LinkOptions): Promise<Closed> {
  try {
    const { wasOpen, ...closed } = await watch(await rejectOnAbort(options.signal, open(deps, options.signal)), options)
    return wasOpen || options.signal.aborted ? closed : ((await findRefusal(deps, options)) ?? closed)
  } catch (error) {
    const known = PolyphonyError.is(error) ? error : networkError('The WebSocket could not be opened', error)
    return { error: known, mayReconnect: isRecoverable(known) }
  }
}

async function open(
  { transport, WebSocket: given, socketAuth, headers }: SocketLinkDeps,
  signal: AbortSignal,
): Promise<SocketLike> {
  const WebSocket = given ?? findGlobalWebSocket()
  if (!WebSocket) throw inputError('WebSocket: this platform has none; pass one to createClient, for example that of `ws`')
  const { socketUrl } = transport.address
  if ((socketAuth ?? (given ? 'header' : 'ticket')) === 'header') {
    const authorization = await transport.credentials.authorization()
    signal.throwIfAborted()
    return new WebSocket(socketUrl, [PROTOCOL], { headers: { ...headers, ...(authorization && { authorization }) } })
  }
  const { protocols } = await transport.send({ method: 'POST', path: ['tickets'] }, { signal }, asJson<Ticket>)
  return new WebSocket(socketUrl, [...protocols])
}

function watch(socket: SocketLike, options: LinkOptions): Promise<Closed & { readonly wasOpen: boolean }> {
  const { pingMs, idleTimeoutMs, signal, onOpen, onText } = options
  return new Promise((resolve) => {
    let isOver = false
    let wasOpen = false
    let errorMessage = ''
    let pings: ReturnType<typeof setInterval> | undefined
    let stopIdle = () => {}
    const finish = (closed: Closed) => {
      if (isOver) return
      isOver = true
      clearInterval(pings)
      stopIdle()
      signal.removeEventListener('abort', onAbort)
      resolve({ ...closed, wasOpen })
    }
    // The server may be gone, so the link ends without waiting for the closing handshake.
    const leave = (reason: string) => {
      finish({ error: networkError(reason), mayReconnect: true })
      socket.close()
    }
    const onAbort = () => leave('The socket was closed')
    const touch = () => {
      stopIdle()
      stopIdle = startIdleTimer(idleTimeoutMs, () => leave(`Nothing arrived on the WebSocket for ${idleTimeoutMs} ms`))
    }
    socket.addEventListener('open', () => {
      if (isOver) return
      wasOpen = true
      touch()
      pings = setInterval(() => socket.send(PING), pingMs)
      onOpen((text) => {
        if (!isOver) socket.send(text)
      })
    })
    socket.addEventListener('message', ({ data }) => {
      if (isOver || typeof data !== 'string') return
      touch()
      onText(data)
    })
    socket.addEventListener('error', ({ message }) => {
      errorMessage = message ?? ''
    })
    socket.addEventListener('close', (event) => finish(toClosed(event, errorMessage)))
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
    else touch()
  })
}

/** Maps close codes of RFC 6455 to errors. All codes but these two mean only that the connection has ended. */
function toClosed({ code = 1006, reason = '' }: SocketEvent, errorMessage: string): Closed {
  if (code === 1008) {
    return {
      error: new PolyphonyError('BAD_ANSWER', `The server does not understand this client: ${reason}`),
      mayReconnect: false,
    }
  }
  if (code === 1009) {
    return { error: new PolyphonyError('REQUEST_TOO_LARGE', 'A message was too big for the WebSocket'), mayReconnect: true }
  }
  const words = [String(code), reason || errorMessage].filter((word) => word !== '').join(' ')
  return { error: networkError(`The WebSocket was closed (${words})`), mayReconnect: true }
}

/** Requests `/me` to learn why a handshake was refused: browsers do not expose the status of a failed handshake. */
async function findRefusal({ transport }: SocketLinkDeps, { idleTimeoutMs, signal }: LinkOptions): Promise<Closed | undefined> {
  const linked = linkAbort(signal)
  const stop = startTimer(idleTimeoutMs, linked.abort)
  try {
    const answer = await transport.open(
      { method: 'GET', path: ['me'] },
      { accept: 'application/json', attempt: 1, signal: linked.signal },
    )
    await answer.body?.cancel()
    return undefined
  } catch (error) {
    return PolyphonyError.is(error) && !isRecoverable(error) ? { error, mayReconnect: false } : undefined
  } finally {
    stop()
    linked.unlink()
  }
}
