import type { ErrorInfo } from '../../errors/orchestrator-error.ts'
import type { SharingDecision } from '../users/sharing.ts'
import type { StepAction } from '../vocabulary.ts'
import type { FinishReason, Source } from './model-call.ts'
import type { Cost, Usage } from './usage.ts'

export const StepStatus = {
  PENDING: 'PENDING',
  RUNNING: 'RUNNING',
  SUCCESS: 'SUCCESS',
  FAILED: 'FAILED',
  SKIPPED: 'SKIPPED',
  CANCELLED: 'CANCELLED',
} as const
export type StepStatus = (typeof StepStatus)[keyof typeof StepStatus]

/** One try of one step: one row of the cost ledger. */
export interface Attempt {
  /** From 1, counted on over resumes of the flow. */
  readonly number: number
  readonly provider: string
  /** The model that answered, else the one asked for. */
  readonly model: string
  readonly startedAt: Date
  /** Milliseconds. */
  readonly executionTime: number
  /** Absent where the provider refused the request before generating anything. */
  readonly usage?: Usage
  /** US dollars; absent where the price or the tokens are unknown. */
  readonly cost?: number
  readonly costSource?: Cost['source']
  readonly pricesDate?: string
  readonly error?: ErrorInfo
  /** The caller, a timeout or a sibling's failure ended it. */
  readonly aborted: boolean
  /** The process died during an earlier try of this step, so the provider may bill it twice. */
  readonly possiblyDoubleBilled?: boolean
  readonly simulated: boolean
}

/** Where a result stands: an executor may run one step several times. */
export interface StepKey {
  readonly stepId: string
  /** From 1; rises inside loops. */
  readonly iteration: number
  /** From 1, with `samples: n` up to n; 0 is the step's own, joined result. */
  readonly sample: number
}

/** The outcome of one step in one iteration. */
export interface StepResult {
  /** `<flowId>/<stepId>#<iteration>.<sample>`: derived, unique. */
  readonly id: string
  readonly flowId: string
  readonly stepId: string
  readonly iteration: number
  readonly sample: number
  readonly status: StepStatus
  readonly provider: string
  /** The model that answered. */
  readonly model: string
  readonly requestedModel: string
  readonly action: StepAction
  readonly output?: string
  /** Value of the answer read through `outputSchema` or the verdict schema. */
  readonly parsed?: unknown
  readonly refusal?: string
  /** Reasoning text that the provider sent apart from the answer. Never part of `output`, never offered to another provider. */
  readonly reasoning?: string
  /** Citations, annotations and search results that came with the answer. */
  readonly sources?: readonly Source[]
  readonly finishReason?: FinishReason
  /** Sum over the attempts. */
  readonly usage?: Usage
  /** US dollars, sum over the attempts; absent when any billed attempt has no known price. */
  readonly cost?: number
  readonly costSource?: Cost['source']
  /** Milliseconds, waiting between attempts included. */
  readonly executionTime: number
  /** Attempts beyond the first. */
  readonly retryCount: number
  readonly attempts: readonly Attempt[]
  /** Outputs of the samples, in order, where the step has `samples`. */
  readonly samples?: readonly string[]
  /** Pieces of context kept back from the provider, and the rule. */
  readonly withheld: readonly SharingDecision[]
  /** Every sharing decision, allowed ones included. */
  readonly sharing: readonly SharingDecision[]
  /** What was mapped, cut or odd, for people. */
  readonly notes: readonly string[]
  readonly error?: ErrorInfo
  readonly messageId?: string
  readonly startedAt: Date
  readonly completedAt: Date
  /** Same instant as `completedAt` (S4-131). */
  readonly executedAt: Date
  /** The facts S4-132 names, gathered. */
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

export const stepResultId = (flowId: string, key: StepKey): string => `${flowId}/${key.stepId}#${key.iteration}.${key.sample}`
