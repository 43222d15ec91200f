import type { CallIntent } from '../domain/execution/call-intent.ts'
import type { StoredRunOptions } from '../domain/execution/flow.ts'
import type { StepKey, StepResult } from '../domain/execution/step-result.ts'
import type { Usage } from '../domain/execution/usage.ts'
import type { PageCursor } from '../domain/page-cursor.ts'
import type { StepTurn } from '../domain/tools/turns.ts'
import type { Attachment } from '../domain/users/thread.ts'
import type { FlowStatus, FlowType, StopReason } from '../domain/vocabulary.ts'
import type { ErrorInfo } from '../errors/orchestrator-error.ts'

/** A flow without its step results and updates. */
export interface StoredFlow {
  /** A UUID; ids are ordered by the time of their creation. */
  readonly id: string
  readonly threadId: string
  /** The user that created the flow. */
  readonly userId: string
  readonly name: string
  readonly description?: string
  readonly flowType: FlowType
  readonly definition: StoredDefinition
  readonly status: FlowStatus
  readonly createdAt: Date
  /** Start of the newest execution. */
  readonly startedAt?: Date
  /** End of the newest execution. */
  readonly completedAt?: Date
  /** Input of the newest execution, or the input given at creation if there was none. */
  readonly input?: string
  readonly metadata?: Readonly<Record<string, unknown>>
  /** Attachments that were given with the input; those of a message are stored with the message. */
  readonly attachments?: readonly Attachment[]
  /** The flow of which this one is a rerun. */
  readonly parentFlowId?: string
  /** Number of the newest claim; 0 before the first one. Writes under an earlier epoch are refused. */
  readonly ownerEpoch: number
  /** The owner that made the newest claim; absent while the flow is queued. */
  readonly ownerId?: string
  readonly result?: StoredFlowResult
  readonly error?: ErrorInfo
  /** Whether the simulator answered any step. */
  readonly simulated: boolean
  /**
   * Version of the rows of the flow, if it is newer than this process knows: a process of a later version has run or
   * created the flow, and this one cannot run it.
   */
  readonly newerVersion?: number
  /** Options of the newest execution, if another process may automatically resume it after a crash. */
  readonly runOptions?: StoredRunOptions
}

/** A flow in a list, without its input and outputs, whose length is unlimited. */
export interface ListedFlow
  extends Omit<StoredFlow, 'input' | 'metadata' | 'attachments' | 'runOptions' | 'result' | 'newerVersion'> {
  /** The first `INPUT_START_CHARACTERS` of the input. */
  readonly inputStart?: string
  readonly result?: Omit<StoredFlowResult, 'output'>
}

export const INPUT_START_CHARACTERS = 200

/** The status of a step in some iteration, without the result itself. */
export type StepState = Pick<StepResult, 'path' | 'status'>

/** A definition, which is stored once per content. */
export interface StoredDefinition {
  /** SHA-256 (hex) of the canonical JSON. */
  readonly hash: string
  /** JSON text, in which `{"$function":true}` stands for each function. */
  readonly json: string
  /** False when functions are missing from `json`. */
  readonly isData: boolean
  readonly version?: string
}

/** The outcome of a flow, without the parts that its step results hold. */
export interface StoredFlowResult {
  /** The step whose output is the output of the flow. */
  readonly final?: StepKey
  /** The output itself, only if it is not the output of a single step. */
  readonly output?: string
  /** US dollars. */
  readonly totalCost: number
  readonly totalTokens: number
  readonly usage: Usage
  /** Number of steps with at least one unpriced attempt. */
  readonly unpricedSteps: number
  /** Milliseconds of the newest execution. */
  readonly totalExecutionTime: number
  readonly stopReason?: StopReason
  /** Amounts that count against the limits of the flow; they exceed the totals if usage is unknown. */
  readonly spent?: { readonly costUsd: number; readonly tokens: number }
}

/**
 * The end of a page: the value of the column that the list is sorted by, to the millisecond, and the id of the flow.
 */
export type FlowCursor = PageCursor

/** Flows of a thread, or flows that a user created in any thread: exactly one of the two is given. */
export interface ListFlowsQuery {
  readonly threadId?: string
  readonly userId?: string
  readonly status?: FlowStatus
  readonly type?: FlowType
  /** 1 to 1001. */
  readonly limit: number
  readonly offset: number
  readonly sortBy: 'createdAt' | 'completedAt' | 'name'
  readonly sortOrder: 'ASC' | 'DESC'
  /** Only flows after this position, so that pages stay the same while flows are added. */
  readonly after?: FlowCursor
}

/** The newest flow of its name. */
export interface NamedFlow {
  readonly name: string
  readonly flowId: string
  readonly threadId: string
  readonly createdAt: Date
}

/** Reads flows and their results. Only the journal writes them; `delete` is the one exception. */
export interface FlowRepository {
  /**
   * One flow, or undefined. Called with every request for a flow, and once a second for each running flow; calls within
   * one turn of the event loop share a statement.
   */
  find(flowId: string): Promise<StoredFlow | undefined>
  /**
   * Flows in the order of the query. Sorted by `completedAt`, flows without one come last in both orders. Ties are
   * broken by id, so that pages never overlap. Called once per page. Rejects with INTERNAL unless exactly one of thread
   * and user is given.
   */
  list(query: ListFlowsQuery): Promise<readonly ListedFlow[]>
  /**
   * The newest flow of that name that the user created, outside the given threads. Called when a request names a flow
   * as its model.
   */
  findNewestByName(userId: string, name: string, notInThreads?: readonly string[]): Promise<StoredFlow | undefined>
  /**
   * Names of the flows that the user created, each with its newest flow; newest first. Must not read flows of other
   * users.
   */
  namesOf(userId: string, limit: number): Promise<readonly NamedFlow[]>
  /**
   * Ids, from `fromId` on, of flows that ended with FLOW_INTERRUPTED and that another process may resume
   * (`runOptions`). Called once when a process starts.
   */
  findInterrupted(fromId: string, limit: number): Promise<readonly string[]>
  /**
   * Removes the flow with its results, attempts, intents and updates, unless it is RUNNING. Resolves with the state
   * before the deletion.
   */
  delete(flowId: string): Promise<'deleted' | 'running' | 'missing'>
  /**
   * Results with their attempts, in the order in which they were recorded. Called when a flow is read, resumed or
   * replayed. `samples`: results of single samples as well, which have a `sample` above 0; `paths`: results of these
   * steps only.
   */
  stepResults(
    flowId: string,
    options?: { readonly samples?: boolean; readonly paths?: readonly string[] },
  ): Promise<readonly StepResult[]>
  /** Calls without a recorded outcome, in the order of their numbers. Called once when a flow is resumed. */
  intents(flowId: string): Promise<readonly CallIntent[]>
  /**
   * Rows of steps that call tools, in the order of their numbers, without attempts. Called once when a flow is resumed.
   */
  turns(flowId: string): Promise<readonly StepTurn[]>
  /**
   * Steps of the flows that have results, each once for every status that it has, in the order in which they were
   * recorded. The map has every flow asked for. Called for each page of a list and each status report.
   */
  stepStates(flowIds: readonly string[]): Promise<ReadonlyMap<string, readonly StepState[]>>
}
