import type { ErrorInfo } from '../../errors/orchestrator-error.ts'
import type { ToolCallRecord } from '../tools/tool-call-record.ts'
import type { Origin, SharingDecision } from '../users/sharing.ts'
import type { Attachment } from '../users/thread.ts'
import type { StepAction } from '../vocabulary.ts'
import type { FinishReason, Source } from './model-call.ts'
import type { CostSource, Usage } from './usage.ts'

export const StepStatus = {
  PENDING: 'PENDING',
  RUNNING: 'RUNNING',
  SUCCESS: 'SUCCESS',
  FAILED: 'FAILED',
  SKIPPED: 'SKIPPED',
  CANCELLED: 'CANCELLED',
} as const
export type StepStatus = (typeof StepStatus)[keyof typeof StepStatus]

/** One attempt of one step: one row of the cost ledger. */
export interface Attempt {
  /** From 1, continued over all executions of the flow. */
  readonly number: number
  readonly provider: string
  /** The model that answered, else the requested one. */
  readonly model: string
  readonly startedAt: Date
  /** Milliseconds. */
  readonly executionTime: number
  /** Absent if the provider refused the request before generating anything. */
  readonly usage?: Usage
  /** US dollars; absent if the price or the tokens are unknown. */
  readonly cost?: number
  readonly costSource?: CostSource
  readonly pricesDate?: string
  readonly error?: ErrorInfo
  /** Whether cancellation, a timeout or the failure of a sibling ended the attempt. */
  readonly aborted: boolean
  /**
   * Whether the process died during the attempt, so that its outcome is unknown: the provider may bill both it and its
   * repetition. Usage and cost are estimates.
   */
  readonly possiblyDoubleBilled?: boolean
  /** Whether the answer of an earlier or simultaneous request was served, so that nothing was sent. It costs 0. */
  readonly cached?: boolean
  readonly simulated: boolean
}

/** Identifies a result within a flow: an executor may run one step several times. */
export interface StepKey {
  /** Address of the step within the flow; see `step-path.ts`. */
  readonly path: string
  /** From 1; rises inside loops. */
  readonly iteration: number
  /** From 1, with `samples: n` up to n; 0 is the step's own, joined result. */
  readonly sample: number
}

/** The outcome of one step in one iteration. */
export interface StepResult {
  /** `<flowId>/<path>#<iteration>.<sample>`: derived and unique. */
  readonly id: string
  readonly flowId: string
  /** The step of the definition that ran. */
  readonly stepId: string
  /** Address of the step within the flow: its id, `step[3]` for an item, `outer/inner` inside a sub-flow. */
  readonly path: string
  readonly iteration: number
  readonly sample: number
  readonly status: StepStatus
  readonly provider: string
  /** The model that answered. */
  readonly model: string
  readonly requestedModel: string
  /**
   * Of a step that waits: the providers whose texts it passes on, which decide about sharing its output in place of
   * `provider`.
   */
  readonly writers?: readonly string[]
  /**
   * The kinds and writers of everything that the text was made from, joined over all hops; its own writer is
   * `provider`. Absent where no request was made, and in results of versions that did not record it.
   */
  readonly origins?: readonly Origin[]
  readonly action: StepAction
  readonly output?: string
  /** Value of the answer, read through `outputSchema` or as a verdict. */
  readonly parsed?: unknown
  readonly refusal?: string
  /**
   * Reasoning text that the provider sent beside the answer. It is never part of `output` and never shared with a
   * provider.
   */
  readonly reasoning?: string
  /** Files that the model made, such as images. */
  readonly files?: readonly Attachment[]
  /** Citations, annotations and search results that came with the answer. */
  readonly sources?: readonly Source[]
  readonly finishReason?: FinishReason
  /** Number of model calls that a step with tools was answered with. */
  readonly turns?: number
  /** The calls of tools that the models of the step made, in order, with shortened outputs. */
  readonly toolCalls?: readonly ToolCallRecord[]
  /** Sum over the attempts. */
  readonly usage?: Usage
  /** US dollars, sum over the attempts; absent when any billed attempt has no known price. */
  readonly cost?: number
  readonly costSource?: CostSource
  /** Milliseconds, including waits between attempts. */
  readonly executionTime: number
  /** Attempts beyond the first. */
  readonly retryCount: number
  readonly attempts: readonly Attempt[]
  /** Outputs of the samples, in order, where the step has `samples`. */
  readonly samples?: readonly string[]
  /** Context items that were withheld from the provider, with the rule that decided. */
  readonly withheld: readonly SharingDecision[]
  /** All sharing decisions, including those that allowed an item. */
  readonly sharing: readonly SharingDecision[]
  /** Human-readable notes on values that were mapped, cut or unexpected. */
  readonly notes: readonly string[]
  readonly error?: ErrorInfo
  readonly messageId?: string
  readonly startedAt: Date
  readonly completedAt: Date
  /** The same instant as `completedAt`. */
  readonly executedAt: Date
  /** The most important facts of the result in one object. */
  readonly metadata: StepResultMetadata
  readonly simulated: boolean
}

export interface StepResultMetadata {
  readonly provider: string
  readonly model: string
  readonly action: StepAction
  readonly usage?: Usage
  readonly cost?: number
  readonly retryCount: number
}

export const isSameResult = (a: StepKey, b: StepKey): boolean =>
  a.path === b.path && a.iteration === b.iteration && a.sample === b.sample

export const stepResultId = (flowId: string, key: StepKey): string => `${flowId}/${key.path}#${key.iteration}.${key.sample}`
