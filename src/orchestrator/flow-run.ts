import type { CancellationToken } from '../async/cancellation-token.ts'
import type { Budget, CallResponse, SharedBudgets, Spend } from '../calls/call.ts'
import type { FlowDefinition, FlowLimits } from '../domain/definition/flow-definition.ts'
import type { StoredRunOptions } from '../domain/execution/flow.ts'
import type { FlowUpdate } from '../domain/execution/flow-update.ts'
import type { FlowObservation } from '../domain/execution/observation.ts'
import type { Attempt, StepKey, StepResult } from '../domain/execution/step-result.ts'
import type { StepTurn } from '../domain/tools/turns.ts'
import type { Origin } from '../domain/users/sharing.ts'
import type { Attachment, Message } from '../domain/users/thread.ts'
import type { FlowLog } from './updates/update-log.ts'
import type { PauseControl } from './waiting/pause-control.ts'

/** The conversation before a flow, oldest first. */
export interface ThreadHistory {
  readonly messages: readonly Message[]
  /** Whether the thread has older messages, which were not read. */
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
  /** Id of the API key that started the flow. */
  readonly apiKeyId?: string
  readonly onUpdate?: (update: FlowUpdate) => unknown
  /** Present if another process may automatically resume the flow after a crash, with these options. */
  readonly stored?: StoredRunOptions
}

/** An answer that an earlier execution received. */
export interface PriorAnswer {
  readonly response: CallResponse
  /** What it was made from; absent in results of versions that did not record it. */
  readonly origins?: readonly Origin[]
}

/** The state that earlier executions of a flow left in the store. All fresh flows share one empty object. */
export interface PriorState {
  /** One result per step and iteration. */
  readonly results: readonly StepResult[]
  /** SUCCESS results, which are not paid for again, by `recordKey`. */
  readonly recorded: ReadonlyMap<string, StepResult>
  /** Attempts by `recordKey`, whose numbers the ledger continues. */
  readonly attempts: ReadonlyMap<string, readonly Attempt[]>
  /** Calls by `recordKey` whose outcome is unknown because the process died during them; their attempts are known. */
  readonly lost: ReadonlySet<string>
  /** Calls by `recordKey` that may have been made before a crash that left no trace of them. */
  readonly untraced: ReadonlySet<string>
  /** Complete answers by `recordKey` that were received and stored before their step had ended. */
  readonly answers: ReadonlyMap<string, PriorAnswer>
  /** Rows of steps that call tools, by `recordKey`. */
  readonly turns: ReadonlyMap<string, readonly StepTurn[]>
  /** Calls of tools by `toolKey` whose outcome is unknown because the process died during them. */
  readonly lostTools: ReadonlySet<string>
  /** Results of lost calls that the store does not hold yet. */
  readonly unrecorded: readonly StepResult[]
  /** Sums over all attempts, those of samples and lost calls included. */
  readonly spent: Spend
  /** Sequence number of the newest stored update; 0 before the first. */
  readonly lastSeq: number
}

/** The part of an execution that changes while it runs. */
export interface FlowProgress {
  /** Results in the order in which their steps were started; `undefined` for a step that still runs. */
  readonly results: (StepResult | undefined)[]
  stepsStarted: number
  /** Index of the furthest step that has started. */
  currentStepIndex: number
  /** Messages of the thread, loaded once at first use. */
  history?: Promise<ThreadHistory>
}

/**
 * One execution of one flow in this process. Thousands wait at once: fields that differ between flows stay flat,
 * because every further object costs memory per waiting flow.
 */
export interface FlowExecution {
  // Identity.
  readonly flowId: string
  readonly threadId: string
  readonly userId: string
  readonly epoch: number

  // The definition and the request.
  readonly definition: FlowDefinition
  /** The user's prompt. */
  readonly input: string
  /** The message from which the prompt and its attachments were taken. */
  readonly inputMessageId?: string
  readonly attachments: readonly Attachment[]
  readonly options: RunOptions
  /** Whether any provider of the flow is the simulator. */
  readonly simulated: boolean

  // Its limits.
  readonly limits?: FlowLimits
  readonly budget?: Budget
  /** Absent if no budget over many flows applies. */
  readonly sharedBudgets?: SharedBudgets
  /** Milliseconds for this execution. */
  readonly timeoutMs?: number

  // Its end, its updates and its observation.
  readonly cancellation: CancellationToken
  readonly log: FlowLog
  readonly startedAt: Date
  /** Absent if no observer is registered. */
  readonly observation?: FlowObservation

  /** Present if the whole flow is executed and its definition has steps that may wait. */
  readonly pause?: PauseControl
  readonly prior: PriorState
  readonly progress: FlowProgress
}

/** Results of the steps that have ended so far. */
export const settledResults = ({ progress }: FlowExecution): StepResult[] =>
  progress.results.filter((result) => result !== undefined)

/** Results that earlier executions paid for and this one has not replayed. */
export function notReplayed({ prior, progress }: FlowExecution): readonly StepResult[] {
  if (prior.results.length === 0) return prior.results
  const replayed = new Set(progress.results.map((result) => result?.id))
  return prior.results.filter((result) => !replayed.has(result.id))
}

/** Key of a call of a tool within one flow. */
export const toolKey = (key: StepKey, { turn, index }: { readonly turn: number; readonly index: number }): string =>
  `${recordKey(key.path, key.iteration, key.sample)}/${turn}.${index}`

/** Key of a result within one flow; `sample` is 0 for the step's own result. */
export const recordKey = (path: string, iteration: number, sample: number): string => `${path}#${iteration}.${sample}`
