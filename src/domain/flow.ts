import type { ErrorInfo } from '../errors/orchestrator-error.ts'
import type { FlowDefinition, FlowType } from './flow-definition.ts'
import type { StepResult } from './step-result.ts'
import type { Usage } from './usage.ts'

export const FlowStatus = {
  PENDING: 'PENDING',
  RUNNING: 'RUNNING',
  PAUSED: 'PAUSED',
  COMPLETED: 'COMPLETED',
  FAILED: 'FAILED',
  CANCELLED: 'CANCELLED',
} as const
export type FlowStatus = (typeof FlowStatus)[keyof typeof FlowStatus]

/** Statuses from which executeFlow may start or resume a flow. */
export const STARTABLE: readonly FlowStatus[] = ['PENDING', 'PAUSED', 'FAILED', 'CANCELLED']

/** Statuses in which nothing happens any more by itself. */
export const SETTLED: readonly FlowStatus[] = ['COMPLETED', 'FAILED', 'CANCELLED']

export type StopReason = 'threshold' | 'max_iterations' | 'plateau' | 'limit' | 'no_verdict' | 'approved'

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

/** What executeFlow resolves with. */
export interface FlowExecutionResult {
  readonly flowId: string
  readonly status: FlowStatus
  readonly finalOutput: string
  readonly steps: StepResult[]
  /** US dollars: the sum of what is known; see `unpricedSteps`. */
  readonly totalCost: number
  readonly totalTokens: number
  readonly usage: Usage
  /** Steps of which at least one attempt has no known price. */
  readonly unpricedSteps: number
  /** Milliseconds of this execution. */
  readonly totalExecutionTime: number
  readonly stopReason?: StopReason
  readonly simulated: boolean
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

/** What onError gets. */
export interface FlowError extends ErrorInfo {
  readonly flowId: string
  readonly stepId?: string
}
