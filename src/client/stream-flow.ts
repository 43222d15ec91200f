import type { WireUpdate } from '../protocol/update.ts'
import { linkAbort, rejectOnAbort } from './abort.ts'
import { createAbortableIterator } from './abortable-iterator.ts'
import type { Query } from './http/address.ts'
import { badAnswer, isJsonObject, isProblem, parseOrUndefined, toPolyphonyError } from './http/answer.ts'
import { COMMENT, type ServerSentEvent } from './http/event-parser.ts'
import { readEvents } from './http/read-events.ts'
import { BACKOFF, type Transport } from './http/transport.ts'
import { networkError, PolyphonyError } from './polyphony-error.ts'
import { delayBefore, startIdleTimer } from './timing.ts'

/** A connection that ended before the flow, and the wait before the next one. */
export interface Reconnection {
  /** Why the connection ended. */
  readonly error: PolyphonyError
  /** Failures in a row, from 1. */
  readonly failures: number
  /** Milliseconds until the next attempt. */
  readonly delayMs: number
}

/** Start of a loop over the updates of a flow, and its tolerance of bad connections. */
export interface FollowOptions {
  /** Sequence number of the last update that is already known; default 0: from the beginning. */
  readonly afterSeq?: number
  /** Ends the loop without an error and closes the connection. The flow continues. */
  readonly signal?: AbortSignal
  /** Headers of every connection. */
  readonly headers?: Readonly<Record<string, string>>
  /**
   * Milliseconds without a byte after which a connection counts as dead; default 45,000. Servers send a heartbeat every
   * 15 seconds.
   */
  readonly idleTimeoutMs?: number
  /**
   * Failures in a row after which the loop throws the last one; default 30, which takes some minutes. `Infinity`:
   * never.
   */
  readonly maxReconnects?: number
  /** Called before the wait for each further connection. */
  readonly onReconnect?: (reconnection: Reconnection) => void
}

/** Defaults of the options that all streams share. */
export const STREAM_DEFAULTS = { idleTimeoutMs: 45_000, maxReconnects: 30 } as const
/** If the server asks for a longer wait, the loop throws. */
const RETRY_AFTER_CAP_MS = 600_000

/** Whether another connection may succeed after this error. */
export const isRecoverable = (error: unknown): error is PolyphonyError =>
  PolyphonyError.is(error) && error.retryable && (error.retryAfterMs ?? 0) <= RETRY_AFTER_CAP_MS

/**
 * Yields the updates of a flow after `afterSeq`, each once and in order, until the flow ends, over as many connections
 * as needed. Reads from the network only as fast as the loop consumes them. Throws unrecoverable errors such as
 * FLOW_NOT_FOUND and UNAUTHENTICATED.
 */
export function followFlow(transport: Transport, flowId: string, options: FollowOptions): AsyncIterableIterator<WireUpdate> {
  const plan = {
    path: ['flows', flowId, 'updates'],
    endedEarly: 'The stream ended before the flow',
    isOver: isEndOfFlow,
    read: toUpdate,
  }
  return createAbortableIterator(options.signal, (signal) => streamWithReconnects(transport, plan, options, signal))
}

const isEndOfFlow = ({ type }: ServerSentEvent): boolean => type === 'end'

/** What one kind of stream consists of. */
export interface StreamPlan<Item extends { readonly seq: number }> {
  /** Segments of its path below `/api/v1`. */
  readonly path: readonly string[]
  readonly query?: Query
  /** Message of the error for a connection that ends before the stream is complete. */
  readonly endedEarly: string
  /** Whether the stream is complete with this event. */
  readonly isOver: (event: ServerSentEvent) => boolean
  /**
   * Called before every connection with the number of the last item, and whether the stream has had a connection.
   * Resolves with the number after which the stream begins or continues.
   */
  readonly join?: (seq: number, isJoined: boolean, signal: AbortSignal) => Promise<number>
  /** The item of an event, if it is one. */
  readonly read: (event: ServerSentEvent) => Item | undefined
}

/**
 * Yields the items of a stream after `afterSeq`, each once, over as many connections as needed. Items with the number 0
 * are outside the order and always pass.
 */
export async function* streamWithReconnects<Item extends { readonly seq: number }>(
  transport: Transport,
  plan: StreamPlan<Item>,
  options: FollowOptions,
  signal: AbortSignal,
): AsyncGenerator<Item, void> {
  const {
    idleTimeoutMs = STREAM_DEFAULTS.idleTimeoutMs,
    maxReconnects = STREAM_DEFAULTS.maxReconnects,
    headers = {},
    onReconnect,
  } = options
  let seq = options.afterSeq ?? 0
  let failures = 0
  let isJoined = false
  let streamProblem: PolyphonyError | undefined
  // A token that expires during a stream may have a valid successor. A token that is rejected at once has none.
  const mayReconnect = (error: unknown): error is PolyphonyError =>
    isRecoverable(error) ||
    (error === streamProblem && streamProblem?.code === 'UNAUTHENTICATED' && transport.credentials.areRenewed)
  while (!signal.aborted) {
    let failure = networkError(plan.endedEarly)
    try {
      if (plan.join) seq = await plan.join(seq, isJoined, signal)
      isJoined = true
      const connection = {
        path: plan.path,
        query: plan.query,
        afterSeq: seq,
        attempt: failures + 1,
        idleTimeoutMs,
        headers,
        signal,
      }
      for await (const event of connect(transport, connection)) {
        if (plan.isOver(event)) return
        const item = event.type === COMMENT ? undefined : plan.read(event)
        if (item === undefined && event.type === 'problem') {
          streamProblem = toProblem(event)
          throw streamProblem
        }
        failures = 0
        if (item === undefined || (item.seq !== 0 && item.seq <= seq)) continue
        seq = Math.max(seq, item.seq)
        yield item
        if (signal.aborted) return
      }
    } catch (error) {
      if (signal.aborted) return
      if (!mayReconnect(error)) throw error
      failure = error
    }
    failures++
    if (failures > maxReconnects) throw failure
    const delayMs = delayBefore(failures, failure.retryAfterMs, BACKOFF, transport.random)
    onReconnect?.({ error: failure, failures, delayMs })
    await transport.wait(delayMs, signal)
  }
}

interface Connection {
  readonly path: readonly string[]
  readonly query?: Query
  readonly afterSeq: number
  readonly attempt: number
  readonly idleTimeoutMs: number
  readonly headers: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

/** Yields the events of one connection and closes it when the loop ends. */
async function* connect(transport: Transport, connection: Connection) {
  const { path, query, afterSeq, attempt, idleTimeoutMs } = connection
  const linked = linkAbort(connection.signal)
  const stopTimer = startIdleTimer(idleTimeoutMs, () => linked.abort(networkError(`No answer within ${idleTimeoutMs} ms`)))
  try {
    const call = { method: 'GET', path, query: { ...query, afterSeq } } as const
    const headers = { ...connection.headers, ...(afterSeq > 0 && { 'last-event-id': String(afterSeq) }) }
    const opening = transport.open(call, { accept: EVENT_STREAM, attempt, headers, signal: linked.signal })
    const response = await rejectOnAbort(linked.signal, opening)
    stopTimer()
    if (!response.body || !response.headers.get('content-type')?.startsWith(EVENT_STREAM)) throw badAnswer(response)
    yield* readEvents(response.body, idleTimeoutMs)
  } finally {
    stopTimer()
    linked.unlink()
    linked.abort()
  }
}

const EVENT_STREAM = 'text/event-stream'

/** Reads an update. Unknown types pass, because a newer server may have more of them. */
function toUpdate({ data }: ServerSentEvent): WireUpdate | undefined {
  const update = parseOrUndefined(data)
  if (update === undefined) throw new PolyphonyError('BAD_ANSWER', 'The stream contains an event that is not JSON')
  return isUpdate(update) ? update : undefined
}

/** Whether a value has the fields of every update. The schemas of the server guarantee the others. */
export const isUpdate = (value: unknown): value is WireUpdate =>
  isJsonObject(value) && typeof value.seq === 'number' && typeof value.flowId === 'string' && typeof value.type === 'string'

function toProblem({ data }: ServerSentEvent): PolyphonyError {
  const problem = parseOrUndefined(data)
  return isProblem(problem)
    ? toPolyphonyError(problem)
    : new PolyphonyError('BAD_ANSWER', 'The stream ended with a problem without code and detail')
}
