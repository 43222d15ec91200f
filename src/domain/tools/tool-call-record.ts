import type { Attachment } from '../users/thread.ts'

/** One call of a tool, as results of steps report it. */
export interface ToolCallRecord {
  readonly turn: number
  /** `<provider>/<operation>`. */
  readonly tool: string
  /** The value that was sent; text where the model wrote no JSON. */
  readonly arguments?: unknown
  /** The beginning of what the model was answered. */
  readonly output: string
  readonly isError: boolean
  /** Milliseconds. */
  readonly executionTime: number
  /** Files of the result, which are stored with the thread of the flow. */
  readonly files?: readonly Attachment[]
  readonly approvedBy?: string
}
