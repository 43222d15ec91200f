import type { EventFilter, EventQuery, NewEvent, PolyphonyEvent } from '../domain/event.ts'

/**
 * The event log of all processes over one database, and its handlers in this process. Reach it as `polyphony.events`;
 * its rights are those of the operator. Implemented by `createEventService` over `createEventBus`.
 *
 * Updates of flows are events as well, with the source `flow` and the id of the flow as subject and correlation id.
 * They stay where they are stored and have the number 0. They carry ids, states, amounts and codes, never prompts or
 * answers, which only the flow itself gives.
 *
 * ```ts
 * import { createPolyphony } from 'polyphony'
 *
 * const { events, close } = await createPolyphony({ database: 'memory://', simulator: true })
 * events.on({ type: 'order_*' }, ({ type, data }) => console.log(type, data))
 * await events.publish({ type: 'order_paid', source: 'shop', correlationId: 'order-7', data: { amount: 12 } })
 * console.log((await events.correlated('order-7')).length)
 * await close()
 * ```
 */
export interface Events {
  /**
   * Stores an event and delivers it to the handlers of all processes. Resolves with the event when it is durable;
   * handlers may not have received it yet. Many events at the same time are stored together. Rejects with
   * EVENT_INVALID, with SERVER_CLOSING after `close`, with EVENT_LOG_BUSY while too many events wait for the database
   * (`events.unstored`, `events.unstoredBytes`), after which the event is not stored, and with DATABASE_UNAVAILABLE,
   * after which it may or may not be.
   */
  publish(event: NewEvent): Promise<PolyphonyEvent>
  /**
   * Calls the handler with every event from now on that fits the filter; an empty filter fits all of them. A handler
   * gets one event at a time, the most urgent first and of equal ones the oldest; `low` ones at least every eighth
   * time. A handler that throws gets the next event; one that does not end loses events once its queue is full. Other
   * handlers notice neither. Events are frozen, because all handlers get the same ones. Returns the function that ends
   * the handler. Throws INPUT_INVALID for a filter, handler or options of the wrong form, and SERVER_CLOSING after
   * `close`.
   */
  on(filter: EventFilter, handler: EventHandler, options?: HandlerOptions): () => void
  /**
   * Calls the handler with lists of events: `windowMs` after the first one, or earlier with `maxSize` of them. Returns
   * the function that ends it and delivers what was collected; `close` does so as well. Throws as `on` does.
   */
  aggregate(filter: EventFilter, options: AggregateOptions, handler: BatchHandler): () => void
  /**
   * Resolves when the handlers of this process get every event that any process stores from then on. Until then they
   * get those of this process only, because `on` does not wait for the database. Waits while the database does not
   * answer; resolves at once without handlers, with an embedded database, and with `close`.
   */
  ready(): Promise<void>
  /**
   * Everything that belongs together, by time, at most 10,000 events: events with this correlation id, and the updates
   * of the flow with this id. With `userId` only what this user may read. Rejects with INPUT_INVALID without an id.
   */
  correlated(id: string, userId?: string): Promise<readonly PolyphonyEvent[]>
  /**
   * Calls this handler, and no other, with stored events in order, each with `replayed: true` and after the call before
   * has ended. With `correlationId` the updates of that flow are among them, by time, unless there is `afterSeq` and no
   * `afterUpdateSeq`. Resolves with the number of events. Events that are published meanwhile are left out. Rejects
   * with what the handler throws, and with INPUT_INVALID for a query of the wrong form.
   */
  replay(query: EventQuery, handler: EventHandler): Promise<number>
  /**
   * The newest events that this process has published or delivered, at most `events.recent` and `events.recentBytes`,
   * the oldest first.
   */
  recent(filter?: EventFilter): readonly PolyphonyEvent[]
  /** Counts of this process since its start. */
  stats(): EventStats
}

/** An error of a handler is logged and counted. */
export type EventHandler = (event: PolyphonyEvent) => unknown
export type BatchHandler = (events: readonly PolyphonyEvent[]) => unknown

export interface HandlerOptions {
  /** Events that may wait for the handler. Default: 1,000. */
  readonly maxQueue?: number
  /**
   * Bytes of memory that these events may take, as estimated. One event may wait however large it is. Default:
   * `events.queueBytes` of the configuration.
   */
  readonly maxQueueBytes?: number
  /**
   * What is lost when more events or bytes wait: `drop_low` the oldest one of the lowest priority, which may be the new
   * one itself; `drop_oldest` the oldest one of all. Default: `drop_low`.
   */
  readonly overflow?: 'drop_low' | 'drop_oldest'
  /**
   * Which event comes next: `priority` the most urgent one, `arrival` the oldest one, so that the numbers of the log
   * rise. Default: `priority`.
   */
  readonly order?: 'priority' | 'arrival'
  /** Ends the handler when it aborts. */
  readonly signal?: AbortSignal
  /** Called before the next event with what was lost since the last one. */
  readonly onDropped?: (dropped: DroppedEvents) => void
}

export interface DroppedEvents {
  readonly count: number
  /** Lowest and highest number among them; 0 where all were updates of flows. */
  readonly fromSeq: number
  readonly toSeq: number
}

export interface AggregateOptions extends Pick<HandlerOptions, 'signal' | 'maxQueue' | 'maxQueueBytes' | 'overflow' | 'order'> {
  /** Milliseconds from the first event of a list to its delivery. */
  readonly windowMs: number
  /** Events of a list. */
  readonly maxSize: number
  /** Events with the same text share a list. Default: all of them. */
  readonly by?: (event: PolyphonyEvent) => string
}

export interface EventStats {
  readonly handlers: number
  readonly published: number
  /** Calls of handlers that have ended. */
  readonly handled: number
  /** Calls of handlers that threw or rejected. */
  readonly failed: number
  readonly dropped: number
  /** Events that wait for their handlers now. */
  readonly waiting: number
  /** Events that left `recent` for their size, before `events.recent` newer ones came. */
  readonly recentDropped: number
}
