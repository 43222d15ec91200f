import { type EventQuery, isEventType, type PolyphonyEvent } from '../../../domain/event.ts'
import { estimateEventBytes } from '../../../domain/event-size.ts'
import type { EventRepository } from '../../events.ts'

export interface MemoryEventsOptions {
  /** The newest events are kept, at most twice as many. */
  readonly maxEvents: number
  /** Estimated bytes of all events together; above it the oldest quarter is removed. Default: 250,000,000. */
  readonly maxBytes?: number
}

/** The event log as a list. */
export function createMemoryEvents({ maxEvents, maxBytes = 250_000_000 }: MemoryEventsOptions): EventRepository {
  let events: PolyphonyEvent[] = []
  let bytes = 0
  let newest = 0
  const keep = (kept: PolyphonyEvent[]) => {
    events = kept
    bytes = kept.reduce((sum, event) => sum + estimateEventBytes(event), 0)
  }
  /** Events are in the order of their numbers; instants may not be, so that a removal may leave gaps. */
  const indexAfter = (seq: number) => {
    let [low, high] = [0, events.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((events[middle]?.seq ?? 0) > seq) high = middle
      else low = middle + 1
    }
    return low
  }

  return {
    append: async (added) => {
      const first = newest + 1
      for (const event of added) {
        const stored = { ...event, seq: ++newest }
        events.push(stored)
        bytes += estimateEventBytes(stored)
      }
      if (events.length > 2 * maxEvents) keep(events.slice(-maxEvents))
      // The newest event always stays.
      while (bytes > maxBytes && events.length > 1) keep(events.slice(Math.ceil(events.length / 4)))
      return first
    },
    read: async ({ afterSeq = 0, ...query }, limit) => {
      const found: PolyphonyEvent[] = []
      for (let index = indexAfter(afterSeq); index < events.length && found.length < limit; index++) {
        const event = events[index]
        if (event && isMeant(event, query)) found.push(event)
      }
      return found
    },
    readNewest: async (query, limit) => {
      const found: PolyphonyEvent[] = []
      for (let index = events.length - 1; index >= 0 && found.length < limit; index--) {
        const event = events[index]
        if (event && event.seq > (query.afterSeq ?? 0) && isMeant(event, query)) found.push(event)
      }
      return found.reverse()
    },
    newestSeq: async () => newest,
    prune: async (before) => {
      const kept = events.filter(({ timestamp, seq }) => timestamp >= before || seq === newest)
      const removed = events.length - kept.length
      keep(kept)
      return removed
    },
  }
}

const isMeant = (event: PolyphonyEvent, { throughSeq, from, to, types, correlationId, userId, subject }: EventQuery): boolean =>
  (throughSeq === undefined || event.seq <= throughSeq) &&
  (from === undefined || event.timestamp >= from) &&
  (to === undefined || event.timestamp <= to) &&
  (types === undefined || isEventType(event.type, types)) &&
  (correlationId === undefined || event.correlationId === correlationId) &&
  (userId === undefined || event.userId === userId) &&
  (subject === undefined || event.subject === subject)
