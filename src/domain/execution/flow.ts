import type { ErrorInfo } from '../../errors/orchestrator-error.ts'
import type { FlowDefinition, FlowLimits } from '../definition/flow-definition.ts'
import type { Attachment } from '../users/thread.ts'
import type { FlowStatus, FlowType } from '../vocabulary.ts'
import type { FlowExecutionResult } from './flow-result.ts'
import type { StepResult } from './step-result.ts'

/**
 * Version of the meaning of a flow's rows. It must be raised when that meaning changes so that a process of an earlier
 * version would run the flow wrongly: such a process then leaves it alone. A claim raises the version of the flow. 2:
 * results are addressed by path, calls have intents, and flows can pause.
 */
export const FLOW_SCHEMA_VERSION = 2

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
  /** Attachments that were given with the prompt of the last execution. */
  readonly attachments?: readonly Attachment[]
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
export interface OrchestrationFlowSummary
  extends Omit<OrchestrationFlow, 'stepResults' | 'result' | 'input' | 'metadata' | 'attachments'> {
  /** The first 200 characters of the prompt of the last execution. */
  readonly inputStart?: string
  /** The status of every stored result, in no order; a step that ran several times may have several. */
  readonly stepStates: readonly Pick<StepResult, 'path' | 'status'>[]
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
  /** Present while the flow is RUNNING and waits in the queue for a process. */
  readonly queuedAt?: Date
  readonly startedAt?: Date
  readonly completedAt?: Date
  readonly error?: ErrorInfo
}

/** Options of an execution, as executeFlow takes them. */
export interface StoredRunOptions {
  readonly streaming?: boolean
  readonly saveMessages?: boolean
  /** Milliseconds. */
  readonly timeout?: { readonly flow?: number; readonly step?: number }
  readonly limits?: FlowLimits
  /** Id of the API key that started the flow, for budgets of scope `key`. */
  readonly apiKeyId?: string
  /**
   * False if the options are stored only for the process that takes the flow from the queue, so that the flow is not
   * resumed automatically after a crash.
   */
  readonly resumeAfterCrash?: false
  /** The message of the thread from which the prompt and its attachments were taken. */
  readonly inputMessageId?: string
  /** The epoch up to which every call is recorded, because the flow was ended or handed over and not interrupted. */
  readonly recordedEpoch?: number
}

/** Whether the process that ran the flow is gone and the flow has not been ended since. */
export const wasInterrupted = ({ status, error }: Pick<OrchestrationFlow, 'status' | 'error'>): boolean =>
  status === 'RUNNING' || error?.code === 'FLOW_INTERRUPTED'

/** A request to run a flow, which names no process yet. */
export interface FlowStart {
  readonly flowId: string
  /** The statuses in which the flow may be started. */
  readonly from: readonly FlowStatus[]
  /** The epoch as the flow was read. A flow that has had another owner since is refused, because it has changed. */
  readonly epoch?: number
  readonly startedAt: Date
  /** If undefined, the input of the flow stays unchanged. */
  readonly input?: string
  /** If undefined, the metadata of the flow stays unchanged. */
  readonly metadata?: Readonly<Record<string, unknown>>
  /** If undefined, the attachments of the flow stay unchanged. */
  readonly attachments?: readonly Attachment[]
  readonly runOptions?: StoredRunOptions
  /**
   * Names the definition with functions that a process must have registered to run the flow. Undefined if the
   * definition is data, which every process can run.
   */
  readonly requires?: string
}

/** What prevents the start of a flow. */
export interface ClaimRefusal {
  /** Undefined if the flow does not exist. */
  readonly status: FlowStatus | undefined
  /** The version of the flow's rows, if only that prevents the start. */
  readonly newerVersion?: number
  /** The flow has had another owner since it was read. */
  readonly hasChanged?: true
}
