import { onAbort } from '../../async/on-abort.ts'
import type { ClientFrameInput, WireServerFrame } from '../../protocol/socket.ts'
import type { WireUpdate } from '../../protocol/update.ts'
import { createAbortableIterator } from '../abortable-iterator.ts'
import { isJsonObject, parseOrUndefined, toPolyphonyError } from '../http/answer.ts'
import { toJson } from '../http/json-body.ts'
import { BACKOFF } from '../http/transport.ts'
import { inputError, networkError, type PolyphonyError } from '../polyphony-error.ts'
import { type FollowOptions, isUpdate, STREAM_DEFAULTS } from '../stream-flow.ts'
import { delayBefore } from '../timing.ts'
import type { Execution, FlowStatusReport, StepAnswer, StepDecision } from '../wire.ts'
import { type Closed, runLink, type SocketLinkDeps } from './socket-link.ts'
import { createClientSubscriptions } from './subscriptions.ts'

/** Timing of a socket, and its tolerance of bad connections. */
export interface SocketOptions extends Pick<FollowOptions, 'idleTimeoutMs' | 'maxReconnects' | 'onReconnect'> {
  /** Milliseconds between pings, which detect dead connections; default 20,000. */
  readonly pingMs?: number
}

/** Flows over one WebSocket, which reconnects while loops or calls need it. */
export interface PolyphonySocket {
  /**
   * Like `flows.follow`, over the connection of this socket. Adjacent `step_progress` updates of a step may be merged
   * into one with the last sequence number. The loop throws INPUT_INVALID if the flow already has a loop on this
   * socket.
   *
   * ```ts
   * for await (const update of socket.follow(flow.id)) console.log(update.seq, update.type)
   * ```
   */
  follow(flowId: string, options?: Pick<FollowOptions, 'afterSeq' | 'signal'>): AsyncIterableIterator<WireUpdate>
  /**
   * Starts the flow and resolves without waiting for its end. Rejects with NETWORK if the connection ends before the
   * answer; the flow may have been started. `flows.execute` repeats the request with an Idempotency-Key instead.
   */
  execute(flowId: string, execution?: Execution, options?: { readonly signal?: AbortSignal }): Promise<FlowStatusReport>
  /** Cancels the flow and its calls; resolves when it has ended. */
  cancel(flowId: string, options?: { readonly signal?: AbortSignal }): Promise<FlowStatusReport>
  /**
   * Decides about a step that waits, as `waiting.signal` does. Rejects with NETWORK if the connection ends before the
   * answer; the decision may have counted.
   */
  signal(flowId: string, path: string, answer: StepAnswer, options?: { readonly signal?: AbortSignal }): Promise<StepDecision>
  /**
   * Ends all loops without an error, rejects pending calls with NETWORK, and closes the connection. An open socket
   * keeps the process alive.
   */
  close(): void
}

/** A frame that answers a request. */
type AnswerFrame = Extract<WireServerFrame, { readonly type: 'status' | 'decided' }>

/** A request that has no answer yet. */
interface PendingRequest {
  readonly text: string
  readonly mayRepeat: boolean
  wasSent: boolean
  /** Takes the frame that answers the request. */
  readonly resolve: (answer: AnswerFrame) => void
  readonly reject: (reason: unknown) => void
}

/** Creates a socket. It connects at the first use, and again after a failure while loops or requests need it. */
export function createSocket(deps: SocketLinkDeps, options: SocketOptions = {}): PolyphonySocket {
  const {
    idleTimeoutMs = STREAM_DEFAULTS.idleTimeoutMs,
    maxReconnects = STREAM_DEFAULTS.maxReconnects,
    pingMs = 20_000,
  } = options
  const { wait, random } = deps.transport
  const ended = new AbortController()
  const pending = new Map<string, PendingRequest>()
  let send: ((text: string) => void) | undefined
  let lastId = 0
  let isConnecting = false

  const nextId = () => String(++lastId)
  const sendFrame = (frame: ClientFrameInput) => send?.(JSON.stringify(frame))
  const subscriptions = createClientSubscriptions({
    nextId,
    sendFrame,
    isOpen: () => send !== undefined,
    maxFailures: maxReconnects,
    pause,
  })
  const isNeeded = () => !ended.signal.aborted && (pending.size > 0 || subscriptions.size > 0)

  function pause(failures: number, error: PolyphonyError): Promise<void> {
    return wait(delayBefore(failures, error.retryAfterMs, BACKOFF, random), ended.signal)
  }

  function connect(): void {
    if (isConnecting) return
    isConnecting = true
    void keepConnected()
      .catch((error: unknown) => failAll(networkError('The socket failed', error)))
      .then(() => {
        isConnecting = false
        if (isNeeded()) connect()
      })
  }

  async function keepConnected(): Promise<void> {
    let failures = 0
    while (isNeeded()) {
      const closed = await runLink(deps, {
        pingMs,
        idleTimeoutMs,
        signal: ended.signal,
        onOpen(opened) {
          send = opened
          subscriptions.opened()
          for (const request of pending.values()) sendOnce(request)
        },
        onText(text) {
          failures = 0
          receive(text)
        },
      })
      handleClose(closed)
      if (!isNeeded()) return
      failures++
      if (!closed.mayReconnect || failures > maxReconnects) return failAll(closed.error)
      const delayMs = delayBefore(failures, closed.error.retryAfterMs, BACKOFF, random)
      options.onReconnect?.({ error: closed.error, failures, delayMs })
      await wait(delayMs, ended.signal)
    }
  }

  function sendOnce(request: PendingRequest): void {
    if (!send || request.wasSent) return
    request.wasSent = true
    send(request.text)
  }

  function handleClose({ error }: Closed): void {
    send = undefined
    subscriptions.lost()
    for (const [id, request] of pending) {
      if (request.wasSent && !request.mayRepeat) {
        pending.delete(id)
        request.reject(error)
      }
      request.wasSent = false
    }
  }

  function failAll(error: PolyphonyError): void {
    subscriptions.failAll(error)
    for (const request of pending.values()) request.reject(error)
    pending.clear()
  }

  function receive(text: string): void {
    const frame = parseOrUndefined(text)
    if (isUpdate(frame)) subscriptions.receive(frame, text.length)
    else if (isServerFrame(frame)) answer(frame)
  }

  function answer(frame: WireServerFrame): void {
    if (frame.type === 'unsubscribed') subscriptions.unsubscribed(frame.flowId)
    if (frame.type === 'end') subscriptions.ended(frame.flowId)
    if (frame.type !== 'status' && frame.type !== 'decided' && frame.type !== 'refused') return
    const request = pending.get(frame.requestId ?? '')
    pending.delete(frame.requestId ?? '')
    if (frame.type !== 'refused') request?.resolve(frame)
    else if (request) request.reject(toPolyphonyError(frame.problem))
    else subscriptions.refused(frame.requestId, frame.flowId, toPolyphonyError(frame.problem))
  }

  function sendRequest(frame: ClientFrameInput & { requestId: string }, mayRepeat: boolean, signal: AbortSignal | undefined) {
    const { requestId } = frame
    return new Promise<AnswerFrame>((resolve, reject) => {
      signal?.throwIfAborted()
      assertOpen()
      const leave = () => {
        pending.delete(requestId)
        reject(signal?.reason)
      }
      const done =
        <T>(settle: (value: T) => void) =>
        (value: T) => {
          unlink?.()
          settle(value)
        }
      const request = { text: toJson(frame), mayRepeat, wasSent: false, resolve: done(resolve), reject: done(reject) }
      const unlink = signal && onAbort(signal, leave)
      pending.set(requestId, request)
      sendOnce(request)
      connect()
    })
  }

  function assertOpen(): void {
    if (ended.signal.aborted) throw inputError('this socket was closed')
  }

  return {
    follow: (flowId, { afterSeq = 0, signal } = {}) =>
      createAbortableIterator(signal, (left) => {
        assertOpen()
        const updates = subscriptions.follow(flowId, afterSeq, left)
        connect()
        return updates
      }),
    execute: (flowId, execution, { signal } = {}) => {
      const frame = { type: 'execute', requestId: nextId(), flowId } as const
      return statusOf(sendRequest(execution === undefined ? frame : { ...frame, options: execution }, false, signal))
    },
    cancel: (flowId, { signal } = {}) => statusOf(sendRequest({ type: 'cancel', requestId: nextId(), flowId }, true, signal)),
    async signal(flowId, path, answer, { signal } = {}) {
      const answered = await sendRequest({ type: 'signal', requestId: nextId(), flowId, path, answer }, false, signal)
      if (answered.type === 'decided') return answered.decision
      throw unexpected(answered)
    },
    close() {
      ended.abort()
      subscriptions.endAll()
      failAll(networkError('The socket was closed'))
    },
  }
}

async function statusOf(answer: Promise<AnswerFrame>): Promise<FlowStatusReport> {
  const answered = await answer
  if (answered.type === 'status') return answered.status
  throw unexpected(answered)
}

const unexpected = ({ type }: AnswerFrame): PolyphonyError =>
  networkError(`The server answered with an unexpected frame "${type}"`)

const isServerFrame = (value: unknown): value is WireServerFrame => isJsonObject(value) && typeof value.type === 'string'
