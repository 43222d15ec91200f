import type { ErrorInfo } from '../../errors/orchestrator-error.ts'
import type { FlowDefinition } from '../definition/flow-definition.ts'
import type { FlowStatus, FlowType } from '../vocabulary.ts'
import type { FlowExecutionResult } from './flow-result.ts'
import type { StepResult } from './step-result.ts'

/** One stored flow. Times are by the clock of the process that wrote them. */
export interface OrchestrationFlow {
  readonly id: string
  readonly threadId: string
  /** User who created the flow. Its calls run under the data-sharing policies of this user. */
  readonly userId: string
  readonly name: string
  readonly description?: string
  readonly flowType: FlowType
  readonly definition: FlowDefinition
  /** The same as `definition.steps`. */
  readonly steps: FlowDefinition['steps']
  /** Index of the furthest step that has started; 0 before the first. */
  readonly currentStepIndex: number
  readonly status: FlowStatus
  readonly createdAt: Date
  readonly startedAt?: Date
  readonly completedAt?: Date
  readonly result?: FlowExecutionResult
  readonly error?: ErrorInfo
  /** The prompt of the last execution. */
  readonly input?: string
  readonly metadata?: Readonly<Record<string, unknown>>
  /** The flow of which this one is a rerun. */
  readonly parentFlowId?: string
  /** Rises by one with each owner; writes of an earlier epoch are rejected. */
  readonly ownerEpoch: number
  /** True when the simulator answered any step. */
  readonly simulated: boolean
  /** In the order they were recorded. */
  readonly stepResults: StepResult[]
}

/** A flow in a list, without the texts of its input and its steps, which `getFlow` returns. */
export interface OrchestrationFlowSummary extends Omit<OrchestrationFlow, 'stepResults' | 'result' | 'input' | 'metadata'> {
  /** The first 200 characters of the prompt of the last execution. */
  readonly inputStart?: string
  readonly result?: Omit<FlowExecutionResult, 'finalOutput' | 'steps'>
}

/** Result of getFlowStatus. */
export interface FlowStatusReport {
  readonly flowId: string
  readonly status: FlowStatus
  /** 0 to 100; never falls within one flow. */
  readonly progress: number
  readonly currentStepIndex: number
  /** Steps of the definition; a loop counts each of its steps once. */
  readonly totalSteps: number
  readonly completedSteps: number
  readonly failedSteps: string[]
  /** Present while the flow is RUNNING and waits for a process that has room for it. */
  readonly queuedAt?: Date
  readonly startedAt?: Date
  readonly completedAt?: Date
  readonly error?: ErrorInfo
}
