import type { EventQuery, PolyphonyEvent } from '../domain/event.ts'

/** An event as it is stored; the store numbers it. */
export type UnnumberedEvent = Omit<PolyphonyEvent, 'seq' | 'replayed'>

/**
 * The event log: events of services and of users. Updates of flows are events as well, but stay where they are stored.
 * Numbers rise in the order in which events become visible, over all processes: an event with a lower number than one
 * that was read never appears later.
 */
export interface EventRepository {
  /**
   * Stores events in one write. Resolves with the number of the first one when all are durable; the others have the
   * numbers after it.
   */
  append(events: readonly UnnumberedEvent[]): Promise<number>
  /** Events by number, at most `limit`. */
  read(query: EventQuery, limit: number): Promise<readonly PolyphonyEvent[]>
  /** The newest `limit` events, by number. */
  readNewest(query: EventQuery, limit: number): Promise<readonly PolyphonyEvent[]>
  /** The highest number; 0 before the first event. */
  newestSeq(): Promise<number>
  /**
   * Removes events that are older. The newest event always stays, so that numbers continue. Called by a timer. Resolves
   * with the number of removed events.
   */
  prune(before: Date): Promise<number>
}
