import type { PolyphonyEvent } from '../../../domain/event.ts'

/** Events in the order in which they came, bounded by their number and by their memory. */
export interface BoundedEvents {
  /**
   * `bytes`: estimated memory of the event. Returns how many of the oldest events were removed for it. One event is
   * always kept, however large it is.
   */
  add(event: PolyphonyEvent, bytes: number): number
  takeOldest(): PolyphonyEvent | undefined
  /** The oldest first. */
  list(): readonly PolyphonyEvent[]
  clear(): void
}

export function createBoundedEvents({
  maxEvents,
  maxBytes,
}: {
  readonly maxEvents: number
  readonly maxBytes: number
}): BoundedEvents {
  // A set keeps the order of additions, and removes its first member without moving the others.
  const kept = new Set<{ readonly event: PolyphonyEvent; readonly bytes: number }>()
  let keptBytes = 0

  function takeOldest(): PolyphonyEvent | undefined {
    const [oldest] = kept
    if (!oldest) return undefined
    kept.delete(oldest)
    keptBytes -= oldest.bytes
    return oldest.event
  }

  return {
    add(event, bytes) {
      kept.add({ event, bytes })
      keptBytes += bytes
      let removed = 0
      for (; kept.size > maxEvents || (keptBytes > maxBytes && kept.size > 1); removed++) takeOldest()
      return removed
    },
    takeOldest,
    list: () => [...kept].map(({ event }) => event),
    clear() {
      kept.clear()
      keptBytes = 0
    },
  }
}
