import type { ErrorCode } from '../../errors/error-codes.ts'

/** One problem that would stop a run, or one warning about it. */
export interface FlowFinding {
  readonly code: ErrorCode
  /** Path within the definition, e.g. `steps[1].provider`. */
  readonly path: string
  readonly message: string
  readonly details: Readonly<Record<string, unknown>>
}

/** The findings of one check. Problems would stop the run, warnings would not. */
export interface Findings {
  readonly problems: readonly FlowFinding[]
  readonly warnings: readonly FlowFinding[]
}
