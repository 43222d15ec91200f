import { onAbort } from '../../async/on-abort.ts'
import type { ClientFrameInput, WireServerFrame } from '../../protocol/socket.ts'
import type { WireUpdate } from '../../protocol/update.ts'
import { isJsonObject, parseOrUndefined, toPolyphonyError } from '../http/answer.ts'
import { toJson } from '../http/json-body.ts'
import { BACKOFF } from '../http/transport.ts'
import { createLeavable } from '../leavable.ts'
import { inputError, networkError, type PolyphonyError } from '../polyphony-error.ts'
import { FOLLOW_DEFAULTS, type FollowOptions, isUpdate } from '../stream-flow.ts'
import { delayBefore } from '../timing.ts'
import type { Execution, FlowStatusReport } from '../wire.ts'
import { type Closed, runLink, type SocketLinkDeps } from './socket-link.ts'
import { createClientSubscriptions } from './subscriptions.ts'

/** How long a socket puts up with a bad connection. */
export interface SocketOptions extends Pick<FollowOptions, 'idleTimeoutMs' | 'maxReconnects' | 'onReconnect'> {
  /** Milliseconds between pings, which tell a quiet connection from a dead one; default 20,000. */
  readonly pingMs?: number
}

/** Flows over one WebSocket, which is opened again as long as something needs it. */
export interface PolyphonySocket {
  /**
   * As `flows.follow`, over the one connection of this socket. Neighbouring `step_progress` of one step may come as one, with the number of the last.
   * Throws INPUT_INVALID for a flow that this socket follows already.
   */
  follow(flowId: string, options?: Pick<FollowOptions, 'afterSeq' | 'signal'>): AsyncIterableIterator<WireUpdate>
  /**
   * Starts the flow and answers at once. Rejects with NETWORK where the connection ended before the answer: the flow may have been started then.
   * `flows.execute` has no such gap, because it repeats itself under an Idempotency-Key.
   */
  execute(flowId: string, execution?: Execution, options?: { readonly signal?: AbortSignal }): Promise<FlowStatusReport>
  /** Ends the flow and its calls; answers when it is over. */
  cancel(flowId: string, options?: { readonly signal?: AbortSignal }): Promise<FlowStatusReport>
  /** Ends all loops, quietly, rejects what waits for an answer with NETWORK, and closes the connection. Until then the process stays alive. */
  close(): void
}

/** A question that was not answered yet. */
interface Asked {
  readonly text: string
  readonly mayRepeat: boolean
  wasSent: boolean
  readonly resolve: (status: FlowStatusReport) => void
  readonly reject: (reason: unknown) => void
}

/** One WebSocket for many flows, opened with the first need of it and opened again as long as there is one. */
export function createSocket(deps: SocketLinkDeps, options: SocketOptions = {}): PolyphonySocket {
  const {
    idleTimeoutMs = FOLLOW_DEFAULTS.idleTimeoutMs,
    maxReconnects = FOLLOW_DEFAULTS.maxReconnects,
    pingMs = 20_000,
  } = options
  const { wait, random } = deps.transport
  const over = new AbortController()
  const asked = new Map<string, Asked>()
  let send: ((text: string) => void) | undefined
  let lastId = 0
  let isConnecting = false

  const nextId = () => String(++lastId)
  const tell = (frame: ClientFrameInput) => send?.(JSON.stringify(frame))
  const subscriptions = createClientSubscriptions({
    nextId,
    tell,
    isOpen: () => send !== undefined,
    maxFailures: maxReconnects,
    pause,
  })
  const isNeeded = () => !over.signal.aborted && (asked.size > 0 || subscriptions.size > 0)

  function pause(failures: number, error: PolyphonyError): Promise<void> {
    return wait(delayBefore(failures, error.retryAfterMs, BACKOFF, random), over.signal)
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
        signal: over.signal,
        onOpen(opened) {
          send = opened
          subscriptions.opened()
          for (const question of asked.values()) put(question)
        },
        onText(text) {
          failures = 0
          receive(text)
        },
      })
      lose(closed)
      if (!isNeeded()) return
      failures++
      if (!closed.mayReconnect || failures > maxReconnects) return failAll(closed.error)
      const delayMs = delayBefore(failures, closed.error.retryAfterMs, BACKOFF, random)
      options.onReconnect?.({ error: closed.error, failures, delayMs })
      await wait(delayMs, over.signal)
    }
  }

  function put(question: Asked): void {
    if (!send || question.wasSent) return
    question.wasSent = true
    send(question.text)
  }

  function lose({ error }: Closed): void {
    send = undefined
    subscriptions.lost()
    for (const [id, question] of asked) {
      if (question.wasSent && !question.mayRepeat) {
        asked.delete(id)
        question.reject(error)
      }
      question.wasSent = false
    }
  }

  function failAll(error: PolyphonyError): void {
    subscriptions.failAll(error)
    for (const question of asked.values()) question.reject(error)
    asked.clear()
  }

  function receive(text: string): void {
    const frame = parseOrUndefined(text)
    if (isUpdate(frame)) subscriptions.receive(frame, text.length)
    else if (isServerFrame(frame)) answer(frame)
  }

  function answer(frame: WireServerFrame): void {
    if (frame.type === 'unsubscribed') subscriptions.unsubscribed(frame.flowId)
    if (frame.type === 'end') subscriptions.ended(frame.flowId)
    if (frame.type !== 'status' && frame.type !== 'refused') return
    const question = asked.get(frame.requestId ?? '')
    asked.delete(frame.requestId ?? '')
    if (frame.type === 'status') question?.resolve(frame.status)
    else if (question) question.reject(toPolyphonyError(frame.problem))
    else subscriptions.refused(frame.requestId, frame.flowId, toPolyphonyError(frame.problem))
  }

  function ask(frame: ClientFrameInput & { requestId: string }, mayRepeat: boolean, signal: AbortSignal | undefined) {
    const { requestId } = frame
    return new Promise<FlowStatusReport>((resolve, reject) => {
      signal?.throwIfAborted()
      assertOpen()
      const leave = () => {
        asked.delete(requestId)
        reject(signal?.reason)
      }
      const done =
        <T>(settle: (value: T) => void) =>
        (value: T) => {
          unlink?.()
          settle(value)
        }
      const question = { text: toJson(frame), mayRepeat, wasSent: false, resolve: done(resolve), reject: done(reject) }
      const unlink = signal && onAbort(signal, leave)
      asked.set(requestId, question)
      put(question)
      connect()
    })
  }

  function assertOpen(): void {
    if (over.signal.aborted) throw inputError('this socket was closed')
  }

  return {
    follow: (flowId, { afterSeq = 0, signal } = {}) =>
      createLeavable(signal, (left) => {
        assertOpen()
        const updates = subscriptions.follow(flowId, afterSeq, left)
        connect()
        return updates
      }),
    execute: (flowId, execution, { signal } = {}) => {
      const frame = { type: 'execute', requestId: nextId(), flowId } as const
      return ask(execution === undefined ? frame : { ...frame, options: execution }, false, signal)
    },
    cancel: (flowId, { signal } = {}) => ask({ type: 'cancel', requestId: nextId(), flowId }, true, signal),
    close() {
      over.abort()
      subscriptions.endAll()
      failAll(networkError('The socket was closed'))
    },
  }
}

const isServerFrame = (value: unknown): value is WireServerFrame => isJsonObject(value) && typeof value.type === 'string'
