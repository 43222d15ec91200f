/** From most to least urgent. */
export const EVENT_PRIORITIES = ['critical', 'high', 'normal', 'low'] as const
export type EventPriority = (typeof EVENT_PRIORITIES)[number]

/** Something that happened, in the one order of the event log. */
export interface PolyphonyEvent<Data = unknown> {
  readonly id: string
  /** Rises with every event of the log; 0 for updates of flows, which have numbers of their own. */
  readonly seq: number
  /** Such as `service_state`; a name of the form `<subject>_<what>`. */
  readonly type: string
  /** Name of the publisher: `service`, `flow`, or a name of the user. */
  readonly source: string
  /** Id of what it is about, such as the id of a service or flow. */
  readonly subject?: string
  /** Shared by all events of one matter, such as the id of a flow. */
  readonly correlationId?: string
  /** Id of the event that led to this one. */
  readonly causationId?: string
  /** User to whom the event belongs; absent for events of the operator. */
  readonly userId?: string
  readonly priority: EventPriority
  /** JSON. */
  readonly data: Data
  readonly timestamp: Date
  /** Whether the event was delivered before and is delivered again by `replay`. */
  readonly replayed?: true
}

/** An event as its publisher writes it. */
export type NewEvent<Data = unknown> = Pick<
  PolyphonyEvent<Data>,
  'type' | 'source' | 'subject' | 'correlationId' | 'causationId' | 'data'
> & {
  /** Default `normal`. */
  readonly priority?: EventPriority
  /** User to whom the event belongs; absent for events of the operator. */
  readonly userId?: string
}

/** Which events are meant: those that fit every field. An empty filter means all of them. */
export interface EventFilter {
  /** One type or several; a type that ends with `*` means all that begin like it, such as `service_*`. */
  readonly type?: string | readonly string[]
  readonly source?: string
  readonly subject?: string
  readonly correlationId?: string
  readonly userId?: string
}

/** Which events of the log are read, in the order of their numbers. */
export interface EventQuery {
  /** Only events with a higher number. */
  readonly afterSeq?: number
  /** Only updates of the flow with a higher number; with it they are read also with `afterSeq`. */
  readonly afterUpdateSeq?: number
  /** Only events up to this number. */
  readonly throughSeq?: number
  /** First and last instant. */
  readonly from?: Date
  readonly to?: Date
  /** As `EventFilter.type`. */
  readonly types?: readonly string[]
  readonly subject?: string
  readonly correlationId?: string
  readonly userId?: string
}

/** Whether a type is one of `types`, each of which may be the beginning of a type with `*` behind it. */
export const isEventType = (type: string, types: readonly string[]): boolean =>
  types.some((name) => (name.endsWith('*') ? type.startsWith(name.slice(0, -1)) : type === name))

/** Prepares a filter, which is then applied to every event. */
export function createEventMatcher({ type, ...fields }: EventFilter): (event: PolyphonyEvent) => boolean {
  const types = type === undefined ? undefined : typeof type === 'string' ? [type] : type
  const { source, subject, correlationId, userId } = fields
  return (event) =>
    (types === undefined || isEventType(event.type, types)) &&
    (source === undefined || event.source === source) &&
    (subject === undefined || event.subject === subject) &&
    (correlationId === undefined || event.correlationId === correlationId) &&
    (userId === undefined || event.userId === userId)
}
