import type { Budget } from '../calls/call.ts'
import type { FlowDefinition } from '../domain/flow-definition.ts'
import type { FlowUpdate } from '../domain/flow-update.ts'
import type { StepResult } from '../domain/step-result.ts'
import type { Attachment, Message } from '../domain/thread.ts'
import type { FlowLog } from './update-log.ts'

/** How one execution is to go; the options of executeFlow, resolved. */
export interface RunOptions {
  readonly streaming: boolean
  readonly saveMessages: boolean
  readonly flowTimeoutMs?: number
  readonly stepTimeoutMs?: number
  readonly metadata: Readonly<Record<string, unknown>>
  readonly onUpdate?: (update: FlowUpdate) => unknown
}

/** One execution of one flow in this process. */
export interface FlowRun {
  readonly flowId: string
  readonly threadId: string
  readonly userId: string
  readonly epoch: number
  readonly definition: FlowDefinition
  /** The user's prompt. */
  readonly input: string
  /** Message the prompt was taken from, with what is attached to it. */
  readonly inputMessageId?: string
  readonly attachments: readonly Attachment[]
  readonly options: RunOptions
  readonly abort: AbortController
  readonly log: FlowLog
  readonly budget?: Budget
  /** SUCCESS results of former executions, by `recordKey`. */
  readonly recorded: ReadonlyMap<string, StepResult>
  /** Keys of steps that a former execution started and never recorded: the provider may have billed them. */
  readonly inFlightAtCrash: ReadonlySet<string>
  /** Tries per key before this execution. */
  readonly earlierAttempts: ReadonlyMap<string, number>
  /** Results in the order in which their steps were started. */
  readonly results: StepResult[]
  readonly startedAt: Date
  /** A provider of the flow is the simulator. */
  readonly simulated: boolean
  stepsStarted: number
  /** Index of the furthest step that has started. */
  currentStepIndex: number
  /** Messages of the thread, loaded once, at first need. */
  history?: Promise<readonly Message[]>
}

export const recordKey = (stepId: string, iteration: number, sample: number): string => `${stepId}#${iteration}.${sample}`
