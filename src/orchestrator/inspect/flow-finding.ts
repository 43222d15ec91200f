import type { ErrorCode } from '../../errors/error-codes.ts'

/** One thing that would stop a run, or surprise its author. */
export interface FlowFinding {
  readonly code: ErrorCode
  /** Where in the definition. */
  readonly path: string
  readonly message: string
  readonly details: Readonly<Record<string, unknown>>
}
