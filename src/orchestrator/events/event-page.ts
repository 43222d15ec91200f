import * as z from 'zod'
import type { EventQuery, PolyphonyEvent } from '../../domain/event.ts'
import { FLOW_SOURCE } from './flow-events.ts'

/** Where a list of events continues: in the log, and in the updates of the flow. */
export type EventPosition = Required<Pick<EventQuery, 'afterSeq' | 'afterUpdateSeq'>>

export interface EventPage {
  readonly events: readonly PolyphonyEvent[]
  /** Where the next page begins; absent on the last page. */
  readonly next?: EventPosition
}

const updateData = z.object({ updateSeq: z.number() })

/** A page of events, of which one more than `limit` may be given. */
export function toEventPage(found: readonly PolyphonyEvent[], limit: number, query: EventQuery): EventPage {
  const events = found.slice(0, limit)
  if (found.length <= limit) return { events }
  let { afterSeq = 0, afterUpdateSeq = 0 } = query
  for (const { seq, source, data } of events) {
    if (source === FLOW_SOURCE) afterUpdateSeq = Math.max(afterUpdateSeq, updateData.safeParse(data).data?.updateSeq ?? 0)
    else afterSeq = Math.max(afterSeq, seq)
  }
  return { events, next: { afterSeq, afterUpdateSeq } }
}
