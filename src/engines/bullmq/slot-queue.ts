/** Settings of the slots of one worker. */
export interface SlotSettings {
  /** Number of slots that this process fills at the same time. */
  readonly concurrency: number
  /** Milliseconds for which a worker holds a slot without renewing its lock. It is renewed twice in that time. */
  readonly lockMs: number
  /** Milliseconds between two searches for slots whose lock ran out. */
  readonly stalledMs: number
}

/** A job of BullMQ that this process holds: the right to drive one flow. */
export interface Slot {
  readonly jobId: string
  /** Aborts when the lock is lost: another process may have been given the slot. */
  readonly lost: AbortSignal
  /** Aborts when the lock could not be renewed, before it is known whether the job still exists. */
  readonly unlocked: AbortSignal
}

/** What becomes of a slot: it ends, or another worker is given it at once. */
export type SlotEnd = 'ended' | 'handed over'

/** Fills a slot. Must not reject for the failure of a flow; a rejection is repeated after a wait. */
export type FillSlot = (slot: Slot) => Promise<SlotEnd>

/** The slots that this process fills. */
export interface SlotWorker {
  /** Takes no further slot. Slots that are held stay so. */
  pause(): Promise<void>
  /** Takes slots again. */
  resume(): Promise<void>
  /** Whether the last search of this worker found no slot, so that it waits for the next one. */
  isDrained(): boolean
  /** Resolves when no slot is held. */
  close(): Promise<void>
}

/**
 * A queue of slots in Postgres or Redis. Which flow a slot drives is decided by the table of active flows when a worker
 * takes it, so that losing the queue costs latency and no flow. Implemented by createBullmqSlots.
 */
export interface SlotQueue {
  /** Adds a slot and resolves with the id of its job. */
  add(): Promise<string>
  /** Adds as many slots at once. */
  addMany(count: number): Promise<void>
  /** Whether the job of a slot exists, in whatever state. Called by tests only. */
  exists(jobId: string): Promise<boolean>
  /** Number of slots that wait for a worker, delayed ones included. */
  countWaiting(): Promise<number>
  /** Starts to take slots. Called once. */
  work(fill: FillSlot, settings: SlotSettings): SlotWorker
  close(): Promise<void>
}

/** Repeats of a slot whose filling failed, which happens only while the database does not answer. */
export const SLOT_ATTEMPTS = 1_000_000
/**
 * Milliseconds before each repeat, less at most half of it by chance. It does not grow, so that the flows of an outage
 * continue soon after its end.
 */
export const SLOT_BACKOFF_MS = 1_500
/** Name of every job of the queue. */
export const SLOT_JOB = 'slot'

/**
 * Options of the job of a slot. Jobs are removed when they end: a job that is kept would swallow every later one with
 * its id.
 */
export const slotJobOptions = {
  attempts: SLOT_ATTEMPTS,
  backoff: { type: 'fixed', delay: SLOT_BACKOFF_MS, jitter: 0.5 },
  removeOnComplete: true,
  removeOnFail: true,
} as const
