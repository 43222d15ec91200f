import { createEventMatcher, type EventFilter, type PolyphonyEvent } from '../../domain/event.ts'
import type { DroppedEvents } from '../../events/event.ts'
import type { EventService } from '../../orchestrator/events/event-service.ts'
import type { Caller } from '../access/caller.ts'

/** The reader of events of one connection. */
export interface EventSink {
  /** True when the reader has more unread data than is allowed. No event is sent then. */
  isFull(): boolean
  send(event: PolyphonyEvent): void
  /**
   * Events between these numbers were dropped, because the reader was too slow; they can be read again from the log.
   * Both are 0 where all of them were updates of flows, which can be read again from their flow.
   */
  gap(fromSeq: number, toSeq: number): void
}

export interface EventReaderOptions {
  readonly caller: Caller
  readonly filter: EventFilter
  /** Number after which stored events are sent first. Undefined: only events from now on. */
  readonly afterSeq?: number
  readonly sink: EventSink
}

export interface EventReader {
  /** Whether the caller may still read the events. */
  isAllowed(): Promise<boolean>
  /** Must be called when the sink has capacity again. */
  resume(): void
  stop(): void
}

/** Events per read. */
const PAGE = 200

/** The user whose events a caller may read; undefined for an operator, who may read all of them. */
export const readerOf = ({ scopes, userId }: Caller): string | undefined => (scopes.includes('operate') ? undefined : userId)

/**
 * Sends stored events after a number, then those that are published. While the reader is full nothing is sent, and what
 * waits is bounded; what is lost is reported as a gap. The sink receives nothing before the next turn of the event
 * loop.
 */
export async function openEventReader(
  events: Pick<EventService, 'follow' | 'list' | 'newestSeq' | 'ready'>,
  { caller, filter, afterSeq, sink }: EventReaderOptions,
): Promise<EventReader> {
  const userId = readerOf(caller)
  const abort = new AbortController()
  const isMeant = createEventMatcher(filter)
  let lastSeq = afterSeq ?? 0
  let lost: DroppedEvents | undefined
  let onCapacity = () => {}

  const capacity = async () => {
    while (sink.isFull() && !abort.signal.aborted) {
      await new Promise<void>((resolve) => {
        onCapacity = resolve
      })
    }
  }
  const reportGap = () => {
    if (lost && (lost.toSeq === 0 || lost.toSeq > lastSeq)) sink.gap(lost.fromSeq, lost.toSeq)
    lost = undefined
  }
  const send = async (event: PolyphonyEvent) => {
    await capacity()
    if (abort.signal.aborted) return
    reportGap()
    lastSeq = Math.max(lastSeq, event.seq)
    sink.send(event)
  }
  const sendStored = async () => {
    await new Promise((resolve) => setImmediate(resolve))
    if (afterSeq === undefined) return
    // What other processes store before that would be neither among the stored events nor among the published ones.
    await events.ready()
    // A number of another log, or of one that was restored, would otherwise hide every event up to it.
    lastSeq = Math.min(afterSeq, await events.newestSeq())
    const { type, correlationId } = filter
    const types = typeof type === 'string' ? [type] : type
    for (let readSeq = lastSeq, isLast = false; !isLast && !abort.signal.aborted; ) {
      const page = await events.list({ afterSeq: readSeq, types, correlationId }, PAGE, userId)
      for (const event of page) if (isMeant(event)) await send(event)
      readSeq = page.at(-1)?.seq ?? readSeq
      isLast = page.length < PAGE
    }
  }

  let start = () => {}
  const started = new Promise<void>((resolve) => {
    start = resolve
  })
  const subscription = await events.follow(
    filter,
    userId,
    async (event) => {
      await started
      if (event.seq === 0 || event.seq > lastSeq) await send(event)
    },
    {
      signal: abort.signal,
      // A reader continues after the highest number that it has got, so that none may overtake another.
      order: 'arrival',
      onDropped(dropped) {
        lost = join(lost, dropped)
      },
    },
  )
  // Events that are published meanwhile wait in the queue of the handler. Without its stored events the reader still
  // gets the others, and sees by their numbers what is missing.
  void sendStored().then(start, start)

  return {
    isAllowed: subscription.isAllowed,
    resume: () => onCapacity(),
    stop() {
      abort.abort()
      subscription.end()
      onCapacity()
    },
  }
}

const join = (one: DroppedEvents | undefined, other: DroppedEvents): DroppedEvents => {
  if (!one) return other
  const firsts = [one.fromSeq, other.fromSeq].filter((seq) => seq > 0)
  return {
    count: one.count + other.count,
    fromSeq: firsts.length === 0 ? 0 : Math.min(...firsts),
    toSeq: Math.max(one.toSeq, other.toSeq),
  }
}
