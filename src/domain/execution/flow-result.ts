import type { ErrorInfo } from '../../errors/orchestrator-error.ts'
import type { FlowStatus, StopReason } from '../vocabulary.ts'
import type { StepResult } from './step-result.ts'
import type { Usage } from './usage.ts'

/** Result of executeFlow. */
export interface FlowExecutionResult {
  readonly flowId: string
  readonly status: FlowStatus
  readonly finalOutput: string
  readonly steps: StepResult[]
  /** US dollars: the sum of all known costs; see `unpricedSteps`. */
  readonly totalCost: number
  readonly totalTokens: number
  readonly usage: Usage
  /** Number of steps with at least one unpriced attempt. */
  readonly unpricedSteps: number
  /** Milliseconds of this execution. */
  readonly totalExecutionTime: number
  readonly stopReason?: StopReason
  readonly simulated: boolean
}

/** Argument of `onError`. */
export interface FlowError extends ErrorInfo {
  readonly flowId: string
  readonly stepId?: string
}
