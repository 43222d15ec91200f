import type { WireUpdate } from '../protocol/update.ts'
import { linkAbort, untilAborted } from './abort.ts'
import { badAnswer, isJsonObject, isProblem, parseOrUndefined, toPolyphonyError } from './http/answer.ts'
import { COMMENT, type ServerSentEvent } from './http/event-parser.ts'
import { readEvents } from './http/read-events.ts'
import { BACKOFF, type Transport } from './http/transport.ts'
import { createLeavable } from './leavable.ts'
import { networkError, PolyphonyError } from './polyphony-error.ts'
import { delayBefore, startIdleTimer } from './timing.ts'

/** A connection that ended before the flow, and the try that comes next. */
export interface Reconnection {
  /** Why the connection ended. */
  readonly error: PolyphonyError
  /** Failures in a row, from 1. */
  readonly failures: number
  /** Milliseconds until the next try. */
  readonly delayMs: number
}

/** From where a loop follows a flow, and how long it puts up with a bad connection. */
export interface FollowOptions {
  /** Number of the last update that is known already; default 0: from the beginning. */
  readonly afterSeq?: number
  /** Ends the loop, quietly, and the connection. The flow goes on. */
  readonly signal?: AbortSignal
  /** Sent with the request of every connection. */
  readonly headers?: Readonly<Record<string, string>>
  /** Milliseconds without a byte after which a connection counts as dead; default 45,000. Servers send a heartbeat every 15 seconds. */
  readonly idleTimeoutMs?: number
  /** Failures in a row after which the loop throws the last of them; default 30, some minutes. `Infinity`: never. */
  readonly maxReconnects?: number
  /** Called before every wait for the next try. */
  readonly onReconnect?: (reconnection: Reconnection) => void
}

export const FOLLOW_DEFAULTS = { idleTimeoutMs: 45_000, maxReconnects: 30 } as const
/** A server that asks for a longer wait than this is not waited for. */
const RETRY_AFTER_CAP_MS = 600_000

/** An error that another connection may not meet. */
export const canHeal = (error: unknown): error is PolyphonyError =>
  PolyphonyError.is(error) && error.retryable && (error.retryAfterMs ?? 0) <= RETRY_AFTER_CAP_MS

/**
 * The updates of a flow after `afterSeq`, each once and in order, to the end of the flow, over as many connections as it takes. Reads from the
 * network only as fast as the loop takes them. Throws what cannot heal: a flow that is not there or not yours, a key that is no longer valid.
 */
export function followFlow(transport: Transport, flowId: string, options: FollowOptions): AsyncIterableIterator<WireUpdate> {
  return createLeavable(options.signal, (signal) => connectAgain(transport, flowId, options, signal))
}

async function* connectAgain(
  transport: Transport,
  flowId: string,
  options: FollowOptions,
  signal: AbortSignal,
): AsyncGenerator<WireUpdate, void> {
  const {
    idleTimeoutMs = FOLLOW_DEFAULTS.idleTimeoutMs,
    maxReconnects = FOLLOW_DEFAULTS.maxReconnects,
    headers = {},
    onReconnect,
  } = options
  let seq = options.afterSeq ?? 0
  let failures = 0
  let told: PolyphonyError | undefined
  // A token that ran out in the midst of the stream may have a good one after it; one that is refused at once has not.
  const mayGoOn = (error: unknown): error is PolyphonyError =>
    canHeal(error) || (error === told && told?.code === 'UNAUTHENTICATED' && transport.credentials.areRenewed)
  while (!signal.aborted) {
    let failure = networkError('The stream ended before the flow')
    try {
      const connection = { flowId, afterSeq: seq, attempt: failures + 1, idleTimeoutMs, headers, signal }
      for await (const event of connect(transport, connection)) {
        if (event.type === 'end') return
        if (event.type === 'problem') {
          told = toProblem(event)
          throw told
        }
        failures = 0
        const update = event.type === COMMENT ? undefined : toUpdate(event)
        if (update === undefined || update.seq <= seq) continue
        seq = update.seq
        yield update
        if (signal.aborted) return
      }
    } catch (error) {
      if (signal.aborted) return
      if (!mayGoOn(error)) throw error
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
  readonly flowId: string
  readonly afterSeq: number
  readonly attempt: number
  readonly idleTimeoutMs: number
  readonly headers: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

/** The events of one connection, which ends when nobody takes them any more. */
async function* connect(transport: Transport, connection: Connection) {
  const { flowId, afterSeq, attempt, idleTimeoutMs } = connection
  const linked = linkAbort(connection.signal)
  const stopTimer = startIdleTimer(idleTimeoutMs, () => linked.abort(networkError(`No answer within ${idleTimeoutMs} ms`)))
  try {
    const call = { method: 'GET', path: ['flows', flowId, 'updates'], query: { afterSeq } } as const
    const headers = { ...connection.headers, ...(afterSeq > 0 && { 'last-event-id': String(afterSeq) }) }
    const opening = transport.open(call, { accept: EVENT_STREAM, attempt, headers, signal: linked.signal })
    const response = await untilAborted(linked.signal, opening)
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

/** Types that this client does not know are handed on: a newer server may have more. */
function toUpdate({ data }: ServerSentEvent): WireUpdate | undefined {
  const update = parseOrUndefined(data)
  if (update === undefined) throw new PolyphonyError('BAD_ANSWER', 'The stream holds an event that is no JSON')
  return isUpdate(update) ? update : undefined
}

/** Of the rest the server's schemas say what it is. */
export const isUpdate = (value: unknown): value is WireUpdate =>
  isJsonObject(value) && typeof value.seq === 'number' && typeof value.flowId === 'string' && typeof value.type === 'string'

function toProblem({ data }: ServerSentEvent): PolyphonyError {
  const problem = parseOrUndefined(data)
  return isProblem(problem)
    ? toPolyphonyError(problem)
    : new PolyphonyError('BAD_ANSWER', 'The stream ended with a problem that says nothing')
}
