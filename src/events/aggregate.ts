import type { PolyphonyEvent } from '../domain/event.ts'
import { estimateEventBytes } from '../domain/event-size.ts'
import type { AggregateOptions, BatchHandler, EventHandler } from './event.ts'

/** Events that are collected or wait for the handler, above which the next ones wait in the queue before them. */
const MAX_COLLECTED = 10_000

export interface Aggregation {
  /** Collects one event. Returns a promise while the handler is too far behind. */
  readonly collect: EventHandler
  /** Delivers what was collected. */
  flush(): void
}

export interface AggregationDeps {
  /** Estimated bytes of events that are collected or wait for the handler, above which the next ones wait. */
  readonly maxBytes: number
  /** Called with what the handler throws or rejects with. */
  readonly onError: (error: unknown) => void
}

interface Group {
  readonly events: PolyphonyEvent[]
  readonly timer: NodeJS.Timeout
  bytes: number
}

/** Collects events into lists and calls the handler with one list at a time. */
export function createAggregation(
  { windowMs, maxSize, by = () => '' }: AggregateOptions,
  handler: BatchHandler,
  { maxBytes, onError }: AggregationDeps,
): Aggregation {
  const groups = new Map<string, Group>()
  let held = 0
  let heldBytes = 0
  let lastCall: Promise<void> = Promise.resolve()

  const call = async ({ events, bytes }: Group) => {
    try {
      await handler(events)
    } catch (error) {
      onError(error)
    }
    held -= events.length
    heldBytes -= bytes
  }
  const deliver = (key: string) => {
    const group = groups.get(key)
    if (!group) return
    groups.delete(key)
    clearTimeout(group.timer)
    lastCall = lastCall.then(() => call(group))
  }
  const flush = () => {
    for (const key of [...groups.keys()]) deliver(key)
  }

  return {
    collect(event) {
      const key = by(event)
      const group = groups.get(key) ?? { events: [], timer: setTimeout(() => deliver(key), windowMs), bytes: 0 }
      const bytes = estimateEventBytes(event)
      groups.set(key, group)
      group.events.push(event)
      group.bytes += bytes
      held += 1
      heldBytes += bytes
      if (group.events.length >= maxSize) deliver(key)
      if (held < MAX_COLLECTED && heldBytes < maxBytes) return undefined
      flush()
      return lastCall
    },
    flush,
  }
}
