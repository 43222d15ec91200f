import { createAbortableIterator } from './abortable-iterator.ts'
import { isJsonObject, parseOrUndefined } from './http/answer.ts'
import { asJson, type CallOptions, type KeyedCallOptions, type Transport } from './http/transport.ts'
import { type FollowOptions, STREAM_DEFAULTS, type StreamPlan, streamWithReconnects } from './stream-flow.ts'
import type { LogEvent, LogEventList, LogEventQuery, NewLogEvent } from './wire.ts'

/** Which events are streamed, from which number, and the tolerance of bad connections. */
export interface EventStreamOptions extends FollowOptions, Pick<LogEventQuery, 'type' | 'correlationId'> {
  /**
   * Called when the server has dropped events because the loop was too slow, with the lowest and highest number among
   * them; both are 0 where all of them were updates of flows. `list` reads them again.
   */
  readonly onGap?: (fromSeq: number, toSeq: number) => void
}

/**
 * The event log of the server: own events and updates of own flows, for operators those of all users.
 *
 * ```ts
 * await client.events.publish({ type: 'order_paid', correlationId: 'order-7', data: { amount: 12 } })
 * const { items } = await client.events.list({ correlationId: 'order-7' })
 * console.log(items.length)
 * for await (const { type, data } of client.events.follow({ type: 'order_*' })) console.log(type, data)
 * ```
 */
export const createEventLog = (transport: Transport) => {
  const { send } = transport
  const list = (query: LogEventQuery = {}, options?: CallOptions): Promise<LogEventList> =>
    send({ method: 'GET', path: ['events'], query: { ...query } }, options, asJson<LogEventList>)
  return {
    /** Stores an event and resolves with it. Rejects with EVENT_INVALID and PERMISSION_DENIED. */
    publish: (event: NewLogEvent, options?: KeyedCallOptions): Promise<LogEvent> =>
      send({ method: 'POST', path: ['events'], body: event, keyed: true }, options, asJson<LogEvent>),
    /** Stored events, the oldest first, at most `limit`. `nextCursor` is the `cursor` of the next page. */
    list,
    /**
     * Yields events as they are published, over as many connections as needed. Those of the log come in order and
     * once, also when a connection is lost; updates of flows (`seq` 0) of that time are missing. If the server
     * then has another log, with fewer events, they come from its beginning. Without `afterSeq`, and with one
     * above the newest number, it begins with the first event after the call. Throws unrecoverable errors such as
     * UNAUTHENTICATED.
     */
    follow: (options: EventStreamOptions = {}): AsyncIterableIterator<LogEvent> => streamEvents(transport, list, options),
  }
}

function streamEvents(
  transport: Transport,
  list: (query: LogEventQuery, options: CallOptions) => Promise<LogEventList>,
  options: EventStreamOptions,
): AsyncIterableIterator<LogEvent> {
  const { type, correlationId, onGap, headers, idleTimeoutMs = STREAM_DEFAULTS.idleTimeoutMs } = options
  const plan: StreamPlan<LogEvent> = {
    path: ['events'],
    query: { type, correlationId },
    endedEarly: 'The stream of events ended',
    isOver: () => false,
    // A log with a lower newest number is another one, such as that of a server with a new database in memory.
    async join(afterSeq, isJoined, signal) {
      if (!isJoined && (options.afterSeq ?? 0) === 0) return afterSeq
      const call = { method: 'GET', path: ['events'], query: { afterSeq, limit: 1 }, once: true } as const
      const { lastSeq } = await transport.send(call, { signal, headers, timeoutMs: idleTimeoutMs }, asJson<LogEventList>)
      if (lastSeq >= afterSeq) return afterSeq
      // Before the first event the number is that of the caller, and means from now on.
      return isJoined ? 0 : lastSeq
    },
    read({ data }) {
      const found = parseOrUndefined(data)
      if (isLogEvent(found)) return found
      if (isGap(found)) onGap?.(found.from, found.to)
      return undefined
    },
  }
  return createAbortableIterator(options.signal, async function* (signal) {
    // Without a number, events between two connections would be missing.
    const newest = async () => (await list({ afterSeq: Number.MAX_SAFE_INTEGER, limit: 1 }, { signal, headers })).lastSeq
    yield* streamWithReconnects(transport, plan, { ...options, afterSeq: options.afterSeq ?? (await newest()) }, signal)
  })
}

const isLogEvent = (value: unknown): value is LogEvent =>
  isJsonObject(value) && typeof value.seq === 'number' && typeof value.id === 'string' && typeof value.type === 'string'

const isGap = (value: unknown): value is { readonly from: number; readonly to: number } =>
  isJsonObject(value) && typeof value.from === 'number' && typeof value.to === 'number'
