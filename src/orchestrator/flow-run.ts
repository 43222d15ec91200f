import type { CancellationToken } from '../async/cancellation-token.ts'
import type { Budget } from '../calls/call.ts'
import type { FlowDefinition, FlowLimits } from '../domain/definition/flow-definition.ts'
import type { FlowUpdate } from '../domain/execution/flow-update.ts'
import type { FlowObservation } from '../domain/execution/observation.ts'
import type { Attempt, StepResult } from '../domain/execution/step-result.ts'
import type { Attachment, Message } from '../domain/users/thread.ts'
import type { StoredRunOptions } from '../repositories/repository.ts'
import type { FlowLog } from './updates/update-log.ts'

/** The conversation before a flow, oldest first. */
export interface ThreadHistory {
  readonly messages: readonly Message[]
  /** The thread has older messages, which were not read. */
  readonly isCut: boolean
}

/** The options of executeFlow, checked and resolved for one execution. */
export interface RunOptions {
  readonly streaming: boolean
  readonly saveMessages: boolean
  /** Raise or lower the definition's own limits for this execution. */
  readonly limits?: FlowLimits
  readonly flowTimeoutMs?: number
  readonly stepTimeoutMs?: number
  readonly metadata: Readonly<Record<string, unknown>>
  readonly onUpdate?: (update: FlowUpdate) => unknown
  /** Present where another process may resume the flow after a crash without a caller, with these options. */
  readonly stored?: StoredRunOptions
}

/** One execution of one flow in this process. */
export interface FlowExecution {
  readonly flowId: string
  readonly threadId: string
  readonly userId: string
  readonly epoch: number
  readonly definition: FlowDefinition
  /** A step's position in the definition gives it no predecessor. */
  readonly noImplicitPredecessor: boolean
  /** The user's prompt. */
  readonly input: string
  /** The message from which the prompt and its attachments were taken. */
  readonly inputMessageId?: string
  readonly attachments: readonly Attachment[]
  readonly options: RunOptions
  readonly cancellation: CancellationToken
  readonly log: FlowLog
  readonly limits?: FlowLimits
  readonly budget?: Budget
  /** Milliseconds for this execution. */
  readonly timeoutMs?: number
  /** SUCCESS results of earlier executions, by `recordKey`. */
  readonly recorded: ReadonlyMap<string, StepResult>
  /**
   * `step#iteration` of steps that an earlier execution started and never recorded: the provider may have billed them.
   */
  readonly inFlightAtCrash: ReadonlySet<string>
  /** Results of earlier executions, one per step and iteration. */
  readonly priorResults: readonly StepResult[]
  /** Attempts of earlier executions, by `recordKey`: the ledger continues their numbers. */
  readonly priorAttempts: ReadonlyMap<string, readonly Attempt[]>
  /** Results in the order in which their steps were started; `undefined` for a step that still runs. */
  readonly results: (StepResult | undefined)[]
  readonly startedAt: Date
  /** A provider of the flow is the simulator. */
  readonly simulated: boolean
  /** Absent where no observer is registered. */
  readonly observation?: FlowObservation
  stepsStarted: number
  /** Index of the furthest step that has started. */
  currentStepIndex: number
  /** Messages of the thread, loaded once at first use. */
  history?: Promise<ThreadHistory>
}

/** Results of the steps that have ended so far. */
export const settledResults = ({ results }: FlowExecution): StepResult[] => results.filter((result) => result !== undefined)

/** Results that earlier executions paid for and that this one has not replayed. */
export function notReplayed({ priorResults, results }: FlowExecution): readonly StepResult[] {
  if (priorResults.length === 0) return priorResults
  const replayed = new Set(results.map((result) => result?.id))
  return priorResults.filter((result) => !replayed.has(result.id))
}

/** Key of a result within one flow; `sample` is 0 for the step's own result. */
export const recordKey = (stepId: string, iteration: number, sample: number): string => `${stepId}#${iteration}.${sample}`
