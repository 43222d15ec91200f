import * as z from 'zod'

/** Stored files of users: images, PDFs, audio and texts that messages and executions refer to. */
export const fileSettingsSchema = z.strictObject({
  /** Bytes of one file; default 20,000,000. */
  maxBytes: z.number().int().positive().max(500_000_000).default(20_000_000),
  /** Bytes of all files of one user; files with the same bytes count once. Default 1,000,000,000. */
  maxBytesPerUser: z.number().int().positive().default(1_000_000_000),
  /** Milliseconds after which a file is deleted. Default: it is kept until its user or its thread is deleted. */
  retentionMs: z.number().int().positive().optional(),
})
