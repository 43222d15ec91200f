import type { PolyphonyEvent } from '../domain/event.ts'
import type { AggregateOptions, BatchHandler, EventHandler } from './event.ts'

/** Events that are collected or wait for the handler, above which the next ones wait in the queue before them. */
const MAX_COLLECTED = 10_000

export interface Aggregation {
  /** Collects one event. Returns a promise while the handler is too far behind. */
  readonly collect: EventHandler
  /** Delivers what was collected. */
  flush(): void
}

interface Group {
  readonly events: PolyphonyEvent[]
  readonly timer: NodeJS.Timeout
}

/** Collects events into lists and calls the handler with one list at a time. */
export function createAggregation(
  { windowMs, maxSize, by = () => '' }: AggregateOptions,
  handler: BatchHandler,
  onError: (error: unknown) => void,
): Aggregation {
  const groups = new Map<string, Group>()
  let held = 0
  let lastCall: Promise<void> = Promise.resolve()

  const call = async (events: readonly PolyphonyEvent[]) => {
    try {
      await handler(events)
    } catch (error) {
      onError(error)
    }
    held -= events.length
  }
  const deliver = (key: string) => {
    const group = groups.get(key)
    if (!group) return
    groups.delete(key)
    clearTimeout(group.timer)
    lastCall = lastCall.then(() => call(group.events))
  }
  const flush = () => {
    for (const key of [...groups.keys()]) deliver(key)
  }

  return {
    collect(event) {
      const key = by(event)
      const group = groups.get(key) ?? { events: [], timer: setTimeout(() => deliver(key), windowMs) }
      groups.set(key, group)
      group.events.push(event)
      held += 1
      if (group.events.length >= maxSize) deliver(key)
      if (held < MAX_COLLECTED) return undefined
      flush()
      return lastCall
    },
    flush,
  }
}
