import { LONGEST_TIMER_MS } from '../../../async/clock.ts'
import { EVENT_PRIORITIES, type EventPriority, type NewEvent, type PolyphonyEvent } from '../../../domain/event.ts'
import { estimateEventBytes } from '../../../domain/event-size.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { type BoundedEvents, createBoundedEvents } from './bounded-events.ts'

/** Where events are stored. Implemented by the event log of Polyphony, and by `createLocalEvents`. */
export interface EventsPort {
  /** Resolves with the event when it is stored. */
  publish(event: NewEvent): Promise<PolyphonyEvent>
  /** Calls the handler with every event of the log that fits the filter. Returns what ends it. */
  on(filter: Readonly<Record<never, never>>, handler: (event: PolyphonyEvent) => unknown): () => void
  /** The newest events of the log that are in memory, the oldest first. Absent: only those of the orchestrator are. */
  recent?(filter: { readonly correlationId: string }): readonly PolyphonyEvent[]
}

export interface EventRegistration<Data = unknown> {
  /** Type of events, all of a prefix such as `workflow:*`, or `*`. */
  readonly type: string
  /** Handlers of higher priority are called first; default `normal`. */
  readonly priority?: EventPriority
  readonly handler: (event: PolyphonyEvent<Data>) => unknown
}

export interface CreateEventOptions {
  /** Shared by all events of one matter; events of an execution have its id. */
  readonly correlationId?: string
  /** Id of the event that led to this one. */
  readonly causationId?: string
  readonly priority?: EventPriority
}

export interface EventDispatcherStats {
  readonly published: number
  readonly handlers: number
  /** Calls of handlers that threw or rejected. */
  readonly handlerErrors: number
  /** Events that a slow handler was not given, because too many waited for it. */
  readonly dropped: number
}

/** Events of the orchestrator that `getCorrelatedEvents` finds; their data may hold whole answers of models. */
const RECENT = { maxEvents: 10_000, maxBytes: 50_000_000 }
/** Events that wait for one handler; the oldest of them are dropped. */
const WAITING = { maxEvents: 1_000, maxBytes: 20_000_000 }

interface Registered extends Required<Pick<EventRegistration, 'type' | 'priority'>> {
  readonly run: EventRegistration['handler']
  readonly waiting: BoundedEvents
  isBusy: boolean
}

/** Publishes events of one orchestrator and calls its handlers, one event at a time for each handler. */
export function createEventDispatcher(local: EventsPort, userId: string) {
  const recent = createBoundedEvents(RECENT)
  /** Ids of the newest events of this orchestrator, also of those that were too large to be kept. */
  const publishedIds = new Set<string>()
  const pending = new Set<Promise<unknown>>()
  let port = local
  let stopListening: (() => void) | undefined
  let handlers: readonly Registered[] = []
  let publishedCount = 0
  let handlerErrors = 0
  let dropped = 0

  const deliver = (event: PolyphonyEvent, bytes: number): void => {
    for (const handler of handlers) {
      if (!matches(handler.type, event.type)) continue
      dropped += handler.waiting.add(event, bytes)
      if (!handler.isBusy) void work(handler)
    }
  }

  async function work(handler: Registered): Promise<void> {
    handler.isBusy = true
    for (let event = handler.waiting.takeOldest(); event; event = handler.waiting.takeOldest()) {
      try {
        await handler.run(event)
      } catch {
        handlerErrors += 1
      }
    }
    handler.isBusy = false
  }

  function remember(event: PolyphonyEvent, bytes: number): void {
    recent.add(event, bytes)
    publishedIds.add(event.id)
    const [oldest] = publishedIds
    if (oldest !== undefined && publishedIds.size > RECENT.maxEvents) publishedIds.delete(oldest)
  }

  /** An event of other components. Those of this orchestrator come back from the log, perhaps before they are known. */
  async function receive(event: PolyphonyEvent): Promise<void> {
    // The log may call while `publish` has not returned its promise yet.
    await Promise.resolve()
    await Promise.allSettled(pending)
    if (!publishedIds.has(event.id)) deliver(event, estimateEventBytes(event))
  }

  /** Without a handler the events of other components are not asked for. */
  function listen(): void {
    if (handlers.length > 0) stopListening ??= port.on({}, receive)
  }

  /** Stores the event with `stored` as its data, and delivers it with `data`. */
  function emit(event: NewEvent, stored: unknown = event.data): Promise<PolyphonyEvent> {
    const emission = port.publish({ ...event, data: stored, userId }).then((published) => {
      const known = { ...published, data: event.data }
      const bytes = estimateEventBytes(known)
      publishedCount += 1
      remember(known, bytes)
      deliver(known, bytes)
      return known
    })
    pending.add(emission)
    const forget = () => void pending.delete(emission)
    emission.then(forget, forget)
    return emission
  }

  return {
    /** Returns a function that removes the handler. Throws CONFIG_INVALID. */
    registerHandler(registration: EventRegistration): () => void {
      if (typeof registration !== 'object' || registration === null) throw wrongHandler('expected an object', typeof registration)
      const { type, priority = 'normal', handler } = registration
      if (typeof handler !== 'function') throw wrongHandler('handler: expected a function', typeof handler)
      if (typeof type !== 'string' || type === '') throw wrongHandler('type: expected the type of events', typeof type)
      if (!EVENT_PRIORITIES.includes(priority)) {
        throw wrongHandler(`priority: expected ${EVENT_PRIORITIES.join(', ')}`, JSON.stringify(priority))
      }
      const registered: Registered = { type, priority, run: handler, waiting: createBoundedEvents(WAITING), isBusy: false }
      const rank = (one: Registered) => EVENT_PRIORITIES.indexOf(one.priority)
      handlers = [...handlers, registered].sort((a, b) => rank(a) - rank(b))
      listen()
      return () => {
        handlers = handlers.filter((one) => one !== registered)
        registered.waiting.clear()
      }
    },
    /** Resolves with the event when it is stored. Rejects with EVENT_INVALID. */
    createEvent: <Data>(type: string, source: string, data?: Data, options: CreateEventOptions = {}): Promise<PolyphonyEvent> =>
      emit({ type, source, data, ...options }),
    /** For events of the orchestrator, whose texts only handlers see: what is stored names ids and states. */
    emit,
    /** Stores further events in the log of a Polyphony, and delivers those of its other components. */
    connect(log: EventsPort): void {
      stopListening?.()
      port = log
      stopListening = undefined
      listen()
    },
    /**
     * The events with this correlation among the last 10,000 of this orchestrator that fit into 50 MB of memory, and
     * among the newest ones of the log of its Polyphony, by time.
     */
    getCorrelatedEvents(correlationId: string): readonly PolyphonyEvent[] {
      const own = recent.list().filter((event) => event.correlationId === correlationId)
      const ownIds = new Set(own.map(({ id }) => id))
      const shared = port.recent?.({ correlationId }) ?? []
      const others = shared.filter(({ id }) => !ownIds.has(id))
      if (others.length === 0) return own
      return [...own, ...others].sort((a, b) => a.timestamp.getTime() - b.timestamp.getTime() || a.seq - b.seq)
    },
    /**
     * Calls a function with events in batches: when `maxSize` have come, or `windowMs` after the first one. Returns
     * what ends it. Throws CONFIG_INVALID.
     */
    aggregate(
      type: string,
      { windowMs, maxSize }: { readonly windowMs: number; readonly maxSize: number },
      handler: (batch: readonly PolyphonyEvent[]) => unknown,
    ): () => void {
      if (typeof handler !== 'function') throw wrongHandler('handler: expected a function', typeof handler)
      if (!(windowMs > 0 && windowMs <= LONGEST_TIMER_MS)) throw wrongHandler('windowMs: expected a time', String(windowMs))
      if (!(maxSize >= 1)) throw wrongHandler('maxSize: expected at least 1', String(maxSize))
      let batch: PolyphonyEvent[] = []
      let timer: NodeJS.Timeout | undefined
      const flush = () => {
        clearTimeout(timer)
        timer = undefined
        const events = batch
        batch = []
        return events.length > 0 ? handler(events) : undefined
      }
      const remove = this.registerHandler({
        type,
        handler: (event) => {
          batch.push(event)
          if (batch.length >= maxSize) return flush()
          timer ??= setTimeout(
            () =>
              void Promise.resolve()
                .then(flush)
                .catch(() => handlerErrors++),
            windowMs,
          ).unref()
          return undefined
        },
      })
      return () => {
        remove()
        clearTimeout(timer)
      }
    },
    /**
     * Calls a handler again with what `getCorrelatedEvents` finds, marked as `replayed`. Resolves with the number of
     * events; rejects with the first error of the handler.
     */
    async replay(correlationId: string, handler: (event: PolyphonyEvent) => unknown): Promise<number> {
      const events = this.getCorrelatedEvents(correlationId)
      for (const event of events) await handler({ ...event, replayed: true })
      return events.length
    },
    stats: (): EventDispatcherStats => ({
      published: publishedCount,
      handlers: handlers.length,
      handlerErrors,
      dropped,
    }),
    /** Removes all handlers, and leaves the log. */
    close(): void {
      stopListening?.()
      stopListening = undefined
      port = local
      handlers = []
    },
  }
}

export type EventDispatcher = ReturnType<typeof createEventDispatcher>

const matches = (filter: string, type: string): boolean =>
  filter === '*' || filter === type || (filter.endsWith('*') && type.startsWith(filter.slice(0, -1)))

const wrongHandler = (expected: string, found: string): OrchestratorError =>
  new OrchestratorError('CONFIG_INVALID', `registerHandler: ${expected}, found ${found}`)
