import { randomUUID } from 'node:crypto'
import type { Clock } from '../../../async/clock.ts'
import type { EventsPort } from './event-dispatcher.ts'

/** Numbers events in the memory of this process, for an orchestrator without an event log. */
export function createLocalEvents({ now }: Pick<Clock, 'now'>): EventsPort {
  let seq = 0
  return {
    async publish({ userId: _, priority = 'normal', ...event }) {
      seq += 1
      return { ...event, id: randomUUID(), seq, priority, timestamp: new Date(now()) }
    },
    // The only publisher delivers its events itself.
    on: () => () => undefined,
  }
}
