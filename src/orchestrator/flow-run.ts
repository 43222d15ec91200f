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
  /** Older messages were not read. */
  readonly isCut: boolean
}

/** How one execution is to go; the options of executeFlow, resolved. */
export interface RunOptions {
  readonly streaming: boolean
  readonly saveMessages: boolean
  /** Raise or lower the definition's own limits for this execution. */
  readonly limits?: FlowLimits
  readonly flowTimeoutMs?: number
  readonly stepTimeoutMs?: number
  readonly metadata: Readonly<Record<string, unknown>>
  readonly onUpdate?: (update: FlowUpdate) => unknown
  /** Given: another process may go on with the flow after a crash without being asked, in this way. */
  readonly stored?: StoredRunOptions
}

/** One execution of one flow in this process. */
export interface FlowExecution {
  readonly flowId: string
  readonly threadId: string
  readonly userId: string
  readonly epoch: number
  readonly definition: FlowDefinition
  /** No step has a predecessor by its position alone. */
  readonly noImplicitPredecessor: boolean
  /** The user's prompt. */
  readonly input: string
  /** Message the prompt was taken from, with what is attached to it. */
  readonly inputMessageId?: string
  readonly attachments: readonly Attachment[]
  readonly options: RunOptions
  readonly cancellation: CancellationToken
  readonly log: FlowLog
  readonly limits?: FlowLimits
  readonly budget?: Budget
  /** Milliseconds for this execution. */
  readonly timeoutMs?: number
  /** SUCCESS results of former executions, by `recordKey`. */
  readonly recorded: ReadonlyMap<string, StepResult>
  /** Keys of steps that a former execution started and never recorded: the provider may have billed them. */
  readonly inFlightAtCrash: ReadonlySet<string>
  /** What former executions left, one result per step and iteration. */
  readonly priorResults: readonly StepResult[]
  /** Tries of former executions, by `recordKey`: the ledger goes on from there. */
  readonly priorAttempts: ReadonlyMap<string, readonly Attempt[]>
  /** Results in the order in which their steps were started; a step that runs holds its place. */
  readonly results: (StepResult | undefined)[]
  readonly startedAt: Date
  /** A provider of the flow is the simulator. */
  readonly simulated: boolean
  /** Absent where nobody watches. */
  readonly observation?: FlowObservation
  stepsStarted: number
  /** Index of the furthest step that has started. */
  currentStepIndex: number
  /** Messages of the thread, loaded once, at first need. */
  history?: Promise<ThreadHistory>
}

/** What is there of the run so far. */
export const settledResults = ({ results }: FlowExecution): StepResult[] => results.filter((result) => result !== undefined)

/** What earlier executions paid for and this one did not come by. */
export function notReplayed({ priorResults, results }: FlowExecution): readonly StepResult[] {
  if (priorResults.length === 0) return priorResults
  const replayed = new Set(results.map((result) => result?.id))
  return priorResults.filter((result) => !replayed.has(result.id))
}

export const recordKey = (stepId: string, iteration: number, sample: number): string => `${stepId}#${iteration}.${sample}`
