import type { EventFilter, EventPriority, EventQuery, NewEvent, PolyphonyEvent } from '../../domain/event.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { EventHandler, Events, HandlerOptions } from '../../events/event.ts'
import type { FlowRepository, StoredFlow } from '../../repositories/repository.ts'
import type { FlowAccess } from '../flows/flow-access.ts'
import { type EventPage, toEventPage } from './event-page.ts'
import type { FlowEventSource } from './flow-event-source.ts'
import { areFlowTypes, FLOW_SOURCE } from './flow-events.ts'
import { type ReadEventsDeps, readStoredEvents } from './read-events.ts'
import { assertCorrelationId, assertReplayInput } from './replay-input.ts'

export interface EventServiceDeps extends ReadEventsDeps {
  /** Implemented by createEventBus. */
  readonly bus: Pick<Events, 'publish' | 'on' | 'aggregate' | 'ready' | 'recent' | 'stats'>
  readonly source: Pick<FlowEventSource, 'start' | 'stop'>
  readonly flows: Pick<FlowRepository, 'find'>
  readonly access: Pick<FlowAccess, 'canRead'>
}

/** An event as a user writes it; its source is `user` and its user is known. */
export interface UserEvent extends Omit<NewEvent, 'source' | 'userId' | 'priority'> {
  readonly priority?: Exclude<EventPriority, 'critical'>
}

/** The events that one caller receives. */
export interface EventSubscription {
  readonly end: () => void
  /** Whether the caller may still read them. */
  readonly isAllowed: () => Promise<boolean>
}

/** Events with the rights of callers. A caller without `userId` is an operator, for whom there is no limit. */
export interface EventService extends Events {
  /**
   * Publishes an event of a user. Rejects with EVENT_INVALID for types that only Polyphony itself publishes.
   */
  publishAs(userId: string, event: UserEvent): Promise<PolyphonyEvent>
  /**
   * At most `limit` stored events, by time. With a correlation id the updates of that flow are among them, unless there
   * is `afterSeq` and no `afterUpdateSeq`.
   */
  list(query: EventQuery, limit: number, userId?: string): Promise<readonly PolyphonyEvent[]>
  /** As `list`, with the position of the next page. */
  page(query: EventQuery, limit: number, userId?: string): Promise<EventPage>
  /** The newest stored events of the log, by number, without updates of flows. */
  newest(query: EventQuery, limit: number): Promise<readonly PolyphonyEvent[]>
  /** The highest number of the log; 0 before the first event. */
  newestSeq(): Promise<number>
  /** As `on`, with what the caller may read. With a correlation id that is every update of a flow that it may read. */
  follow(
    filter: EventFilter,
    userId: string | undefined,
    handler: EventHandler,
    options: HandlerOptions,
  ): Promise<EventSubscription>
}

/** Events of `correlated`. */
const MAX_CORRELATED = 10_000
/** Beginnings of types that users do not publish, because handlers take such events for those of Polyphony. */
const RESERVED = /^(?:service|flow|step|tool|context|orchestrator)_/

export function createEventService(deps: EventServiceDeps): EventService {
  const { bus, source, flows, access } = deps
  let flowHandlers = 0

  /** Counts a handler that may want updates of flows. Returns the function that takes it back. */
  const wantFlows = ({ type, source: wanted }: EventFilter) => {
    const types = typeof type === 'string' ? [type] : type
    if ((wanted !== undefined && wanted !== FLOW_SOURCE) || !areFlowTypes(types)) return () => {}
    if (flowHandlers++ === 0) source.start()
    let isCounted = true
    return () => {
      if (isCounted && --flowHandlers === 0) source.stop()
      isCounted = false
    }
  }
  const endBoth = (ends: readonly (() => void)[], signal: AbortSignal | undefined) => {
    const end = () => {
      signal?.removeEventListener('abort', end)
      for (const one of ends) one()
    }
    if (signal?.aborted) end()
    else signal?.addEventListener('abort', end, { once: true })
    return end
  }
  // The bus comes first, because it throws for what it does not take.
  const on: Events['on'] = (filter, handler, options = {}) =>
    endBoth([bus.on(filter, handler, options), wantFlows(filter)], options.signal)

  /** The flow with this id, if the caller may read it. */
  const readableFlow = async (id: string, userId: string | undefined): Promise<StoredFlow | undefined> => {
    const flow = await flows.find(id)
    if (!flow || userId === undefined) return flow
    return (await access.canRead(flow.threadId, userId)) ? flow : undefined
  }
  const read = async (query: EventQuery, userId: string | undefined) => {
    const { correlationId, afterSeq, afterUpdateSeq } = query
    const hasUpdates = afterSeq === undefined || afterUpdateSeq !== undefined
    const flow = correlationId !== undefined && hasUpdates ? await readableFlow(correlationId, userId) : undefined
    return readStoredEvents(deps, userId === undefined ? query : { ...query, userId }, flow)
  }
  const list = async (query: EventQuery, limit: number, userId?: string) => {
    const events: PolyphonyEvent[] = []
    for await (const event of await read(query, userId)) {
      if (events.push(event) >= limit) break
    }
    return events
  }

  return {
    async publish(event) {
      if (event.source === FLOW_SOURCE) throw reserved(`source: "${FLOW_SOURCE}" is that of updates of flows`)
      return bus.publish(event)
    },
    async publishAs(userId, event) {
      if (RESERVED.test(event.type)) throw reserved('type: expected one that does not begin like those of Polyphony')
      return bus.publish({ ...event, source: 'user', userId })
    },
    on,
    aggregate(filter, options, handler) {
      return endBoth([bus.aggregate(filter, options, handler), wantFlows(filter)], options.signal)
    },
    async correlated(id, userId) {
      assertCorrelationId(id)
      return list({ correlationId: id }, MAX_CORRELATED, userId)
    },
    async replay(query, handler) {
      assertReplayInput(query, handler)
      let count = 0
      for await (const event of await read(query, undefined)) {
        await handler({ ...event, replayed: true })
        count += 1
      }
      return count
    },
    ready: bus.ready,
    recent: bus.recent,
    stats: bus.stats,
    list,
    page: async (query, limit, userId) => toEventPage(await list(query, limit + 1, userId), limit, query),
    newest: (query, limit) => deps.log.readNewest(query, limit),
    newestSeq: () => deps.log.newestSeq(),
    async follow(filter, userId, handler, options) {
      if (userId === undefined) return { end: on(filter, handler, options), isAllowed: async () => true }
      const { correlationId } = filter
      if (correlationId === undefined || !(await readableFlow(correlationId, userId))) {
        return { end: on({ ...filter, userId }, handler, options), isAllowed: async () => true }
      }
      // A flow that others own may be shared with the user, who then reads its updates, and no other events about it.
      const isReadable = (event: PolyphonyEvent) => event.userId === userId || event.source === FLOW_SOURCE
      const end = on(filter, (event) => (isReadable(event) ? handler(event) : undefined), options)
      return { end, isAllowed: async () => (await readableFlow(correlationId, userId)) !== undefined }
    },
  }
}

const reserved = (problem: string): OrchestratorError =>
  new OrchestratorError('EVENT_INVALID', problem, { details: { field: problem.slice(0, problem.indexOf(':')) } })
