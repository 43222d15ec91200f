import { createEventMatcher, type EventFilter, type EventQuery, type NewEvent, type PolyphonyEvent } from '../domain/event.ts'
import { estimateEventBytes } from '../domain/event-size.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { createAggregation } from './aggregate.ts'
import { createBatches } from './append-batches.ts'
import type { AggregateOptions, BatchHandler, EventHandler, EventStats, Events, HandlerOptions } from './event.ts'
import { freezeEvent } from './frozen-event.ts'
import { assertAggregateInput, assertHandlerInput } from './handler-options.ts'
import { createLogTail } from './log-tail.ts'
import { parseNewEvent } from './new-event.ts'
import { createHandlerQueue, type HandlerQueue } from './queue.ts'
import { createRecentEvents } from './recent.ts'

type UnnumberedEvent = Omit<PolyphonyEvent, 'seq' | 'replayed'>

/** Messages between the processes that share the log. Implemented by NotificationBus. */
export interface EventMessages {
  publish(topic: string, payload: string): void
  subscribe(topic: string, subscriber: { onMessage(payload: string): void; onGap(): void }): () => void
  mayHaveSubscribersElsewhere(topic: string): boolean
}

export interface EventBusDeps {
  /** Implemented by EventRepository. */
  readonly log: {
    append(events: readonly UnnumberedEvent[]): Promise<number>
    read(query: EventQuery, limit: number): Promise<readonly PolyphonyEvent[]>
    newestSeq(): Promise<number>
  }
  /** Absent where no other process shares the log. */
  readonly messages?: EventMessages
  /** Events that are kept in memory, and their bytes. */
  readonly recent: number
  readonly recentBytes: number
  /** Bytes of the events that wait for one handler. */
  readonly queueBytes: number
  /** Events that wait to be stored, and their bytes. */
  readonly unstored: number
  readonly unstoredBytes: number
  readonly now: () => Date
  readonly newId: () => string
  /** Called with the first error and the first loss of each handler, and then with every thousandth. */
  readonly warn: (message: string, facts: Readonly<Record<string, unknown>>) => void
}

export interface EventBus extends Pick<Events, 'publish' | 'on' | 'aggregate' | 'ready' | 'recent' | 'stats'> {
  /** Delivers an event that is stored elsewhere, such as an update of a flow. */
  deliver(event: PolyphonyEvent): void
  /** Calls back when the first handler is added and when the last one ends. */
  onHandlers(listener: (hasHandlers: boolean) => void): void
  /** Stores what was published before, and ends all handlers. Nothing is published after it. */
  close(): Promise<void>
}

interface Handler {
  readonly matches: (event: PolyphonyEvent) => boolean
  readonly queue: HandlerQueue
  readonly end: () => void
}

const TOPIC = 'events'
const WARN_EVERY = 1_000

/** The bus of one process. It reads nothing and has no timer while it has no handler. */
export function createEventBus(deps: EventBusDeps): EventBus {
  const { log, messages, now, newId, warn } = deps
  const handlers = new Set<Handler>()
  const listeners: ((hasHandlers: boolean) => void)[] = []
  const recent = createRecentEvents({ maxEvents: deps.recent, maxBytes: deps.recentBytes })
  const counts = { published: 0, handled: 0, failed: 0, dropped: 0 }
  let endMessages: (() => void) | undefined

  let isClosed = false

  const assertOpen = () => {
    if (isClosed)
      throw new OrchestratorError('SERVER_CLOSING', 'Polyphony is closing, so that it takes no events and no handlers')
  }
  const deliver = (event: PolyphonyEvent) => {
    freezeEvent(event)
    const bytes = estimateEventBytes(event)
    recent.add(event, bytes)
    for (const { matches, queue } of handlers) if (matches(event)) queue.push(event, bytes)
  }
  const tail = messages && createLogTail({ ...log, deliver })
  const append = async (events: readonly UnnumberedEvent[]) => {
    try {
      return await log.append(events)
    } catch (error) {
      // The write may have reached the database although its answer did not reach this process.
      tail?.announced()
      throw error
    }
  }
  const batches = createBatches<UnnumberedEvent>({
    append,
    onStored(events, firstSeq) {
      const stored = events.map((event, index): PolyphonyEvent => ({ ...event, seq: firstSeq + index }))
      if (tail && handlers.size > 0) tail.stored(stored)
      else for (const event of stored) deliver(event)
      if (messages?.mayHaveSubscribersElsewhere(TOPIC)) messages.publish(TOPIC, String(firstSeq + stored.length - 1))
    },
    bytesOf: estimateEventBytes,
    maxItems: deps.unstored,
    maxBytes: deps.unstoredBytes,
  })

  const start = () => {
    endMessages = messages?.subscribe(TOPIC, {
      onMessage: (payload) => tail?.announced(Number(payload)),
      onGap: () => tail?.announced(),
    })
    tail?.start()
    for (const listener of listeners) listener(true)
  }
  const stop = () => {
    endMessages?.()
    tail?.stop()
    for (const listener of listeners) listener(false)
  }

  /** `onEnd` is called when the handler ends, however it does. */
  const add = (filter: EventFilter, handler: EventHandler, options: HandlerOptions = {}, onEnd = () => {}) => {
    assertHandlerInput(filter, handler, options)
    assertOpen()
    const { signal } = options
    if (signal?.aborted) return () => {}
    let failures = 0
    let losses = 0
    const queue = createHandlerQueue(
      {
        handler,
        maxBytes: deps.queueBytes,
        onError(error) {
          counts.failed += 1
          const errorName = error instanceof Error ? error.name : typeof error
          if (failures++ % WARN_EVERY === 0) warn('a handler of events failed', { filter, errorName, failures })
        },
        onDrop(count) {
          counts.dropped += count
          if (losses++ % WARN_EVERY === 0)
            warn('a handler of events is too slow, so events are dropped', { filter, dropped: losses })
        },
        onHandled() {
          counts.handled += 1
        },
      },
      options,
    )
    const end = () => {
      signal?.removeEventListener('abort', end)
      queue.close()
      if (!handlers.delete(entry)) return
      onEnd()
      if (handlers.size === 0) stop()
    }
    const entry: Handler = { matches: createEventMatcher(filter), queue, end }
    handlers.add(entry)
    signal?.addEventListener('abort', end, { once: true })
    if (handlers.size === 1) start()
    return end
  }

  async function publish(event: NewEvent): Promise<PolyphonyEvent> {
    assertOpen()
    const unnumbered: UnnumberedEvent = { ...parseNewEvent(event), id: newId(), timestamp: now() }
    const seq = await batches.append(unnumbered)
    counts.published += 1
    return { ...unnumbered, seq }
  }

  return {
    publish,
    on: (filter, handler, options) => add(filter, handler, options),
    aggregate(filter: EventFilter, options: AggregateOptions, handler: BatchHandler) {
      assertAggregateInput(options, handler)
      const { signal, maxQueue, maxQueueBytes, overflow, order } = options
      const aggregation = createAggregation(options, handler, {
        maxBytes: maxQueueBytes ?? deps.queueBytes,
        onError(error) {
          counts.failed += 1
          warn('a handler of collected events failed', {
            filter,
            errorName: error instanceof Error ? error.name : typeof error,
          })
        },
      })
      return add(filter, aggregation.collect, { signal, maxQueue, maxQueueBytes, overflow, order }, aggregation.flush)
    },
    ready: async () => tail?.ready(),
    recent: (filter = {}) => recent.list().filter(createEventMatcher(filter)),
    stats(): EventStats {
      let waiting = 0
      for (const { queue } of handlers) waiting += queue.waiting
      return { handlers: handlers.size, ...counts, waiting, recentDropped: recent.dropped() }
    },
    deliver,
    onHandlers: (listener) => void listeners.push(listener),
    async close() {
      isClosed = true
      await batches.settled()
      for (const { end } of [...handlers]) end()
    },
  }
}
