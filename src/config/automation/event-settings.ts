import * as z from 'zod'

const milliseconds = z.number().int().positive()

/** Stored updates of flows. */
export const updateSettingsSchema = z.strictObject({
  /** Milliseconds after the end of a flow until its updates are deleted. Default: they are kept. */
  retentionMs: milliseconds.optional(),
})

/** The event log. */
export const eventSettingsSchema = z.strictObject({
  /** Milliseconds for which events are kept. Default: 7 days. */
  retentionMs: milliseconds.default(604_800_000),
  /** Newest events that each process keeps in memory. Default: 10,000. */
  recent: z.int().min(0).max(1_000_000).default(10_000),
  /** Bytes of memory that these events take at most, as estimated. Default: 50,000,000. */
  recentBytes: z.int().min(0).max(10_000_000_000).default(50_000_000),
  /**
   * Bytes of memory of the events that wait for one handler, as estimated; what does not fit is dropped and counted.
   * Default: 20,000,000.
   */
  queueBytes: z.int().min(1).max(10_000_000_000).default(20_000_000),
  /** Events of this process that may wait for the database; more are refused with EVENT_LOG_BUSY. Default: 20,000. */
  unstored: z.int().min(1).max(1_000_000).default(20_000),
  /** Bytes of memory that these events take at most, as estimated. Default: 50,000,000. */
  unstoredBytes: z.int().min(1).max(10_000_000_000).default(50_000_000),
})
