import type { PolyphonyEvent } from '../domain/event.ts'

export interface RecentEventsOptions {
  readonly maxEvents: number
  /** Estimated bytes of all events together. */
  readonly maxBytes: number
}

interface KeptEvent {
  readonly event: PolyphonyEvent
  readonly bytes: number
}

/** Removed entries before the list is copied without them. */
const MAX_REMOVED = 1_000

/**
 * The newest events, for callers that cannot wait for the database. Memory is taken as events come. An event of a user
 * may have 64 kB of JSON, so that a limit of their number alone would be one of gigabytes.
 */
export function createRecentEvents({ maxEvents, maxBytes }: RecentEventsOptions) {
  /** Entries before `first` are removed; each is cleared at once, so that its event can be collected. */
  let entries: (KeptEvent | undefined)[] = []
  let first = 0
  let bytes = 0
  let dropped = 0

  const removeFirst = () => {
    bytes -= entries[first]?.bytes ?? 0
    entries[first] = undefined
    first += 1
    if (first <= MAX_REMOVED || first < entries.length / 2) return
    entries = entries.slice(first)
    first = 0
  }

  return {
    /** `added`: estimated bytes of the event. */
    add(event: PolyphonyEvent, added: number): void {
      if (maxEvents === 0) return
      entries.push({ event, bytes: added })
      bytes += added
      if (entries.length - first > maxEvents) removeFirst()
      for (; bytes > maxBytes && first < entries.length; dropped++) removeFirst()
    },
    /** The oldest first. */
    list: (): readonly PolyphonyEvent[] => entries.slice(first).flatMap((entry) => (entry ? [entry.event] : [])),
    /** Events that were removed although fewer than `maxEvents` were kept. */
    dropped: (): number => dropped,
  }
}
