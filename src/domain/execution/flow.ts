import type { ErrorInfo } from '../../errors/orchestrator-error.ts'
import type { FlowDefinition } from '../definition/flow-definition.ts'
import type { FlowStatus, FlowType } from '../vocabulary.ts'
import type { FlowExecutionResult } from './flow-result.ts'
import type { StepResult } from './step-result.ts'

/** One stored flow (S4-130). Times are instants of the process that wrote them. */
export interface OrchestrationFlow {
  readonly id: string
  readonly threadId: string
  /** Who created the flow; its calls run under this user's data-sharing policies. */
  readonly userId: string
  readonly name: string
  readonly description?: string
  readonly flowType: FlowType
  readonly definition: FlowDefinition
  /** `definition.steps`, named so by S4-130. */
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
  /** The flow this one is a rerun of. */
  readonly parentFlowId?: string
  /** Rises by one with every owner; writes of an earlier epoch are refused. */
  readonly ownerEpoch: number
  /** True when any step was answered by the simulator. */
  readonly simulated: boolean
  /** In the order they were recorded. */
  readonly stepResults: StepResult[]
}

/** A flow in a list: without the texts that it was given and that its steps wrote, which `getFlow` reads. */
export interface OrchestrationFlowSummary extends Omit<OrchestrationFlow, 'stepResults' | 'result' | 'input' | 'metadata'> {
  /** The first 200 characters of the prompt of the last execution. */
  readonly inputStart?: string
  readonly result?: Omit<FlowExecutionResult, 'finalOutput' | 'steps'>
}

/** Answer of getFlowStatus. */
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
  readonly startedAt?: Date
  readonly completedAt?: Date
  readonly error?: ErrorInfo
}
