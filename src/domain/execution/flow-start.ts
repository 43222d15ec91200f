import type { FlowLimits } from '../definition/flow-definition.ts'
import type { FlowStatus } from '../vocabulary.ts'

/** Options of an execution, as executeFlow takes them. */
export interface StoredRunOptions {
  readonly streaming?: boolean
  readonly saveMessages?: boolean
  /** Milliseconds. */
  readonly timeout?: { readonly flow?: number; readonly step?: number }
  readonly limits?: FlowLimits
  /**
   * False if the options are stored only for the process that takes the flow from the queue, so that the flow is not
   * resumed automatically after a crash.
   */
  readonly resumeAfterCrash?: false
  /** The message of the thread from which the prompt and its attachments were taken. */
  readonly inputMessageId?: string
}

/** A request to run a flow, which names no process yet. */
export interface FlowStart {
  readonly flowId: string
  /** The statuses in which the flow may be started. */
  readonly from: readonly FlowStatus[]
  readonly startedAt: Date
  readonly input: string
  /** If undefined, the metadata of the flow stays unchanged. */
  readonly metadata?: Readonly<Record<string, unknown>>
  readonly runOptions?: StoredRunOptions
  /**
   * Names the definition with functions that a process must have registered to run the flow. Undefined if the
   * definition is data, which every process can run.
   */
  readonly requires?: string
}
