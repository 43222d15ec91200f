import type { CallIntent } from '../domain/execution/call-intent.ts'
import type { ClaimRefusal, FlowStart } from '../domain/execution/flow.ts'
import type { FlowUpdateType } from '../domain/execution/flow-update.ts'
import type { StepResult } from '../domain/execution/step-result.ts'
import type { StepTurn, TurnsOfStep } from '../domain/tools/turns.ts'
import type { Message } from '../domain/users/thread.ts'
import type { FlowStatus } from '../domain/vocabulary.ts'
import type { StepWait } from '../domain/waiting/wait.ts'
import type { ErrorInfo } from '../errors/orchestrator-error.ts'
import type { NewDelivery } from './background-repositories.ts'
import type { StoredFlow, StoredFlowResult } from './stored-flows.ts'

/** A new flow, as creating it writes it. */
export interface FlowInsert
  extends Omit<
    StoredFlow,
    'status' | 'startedAt' | 'completedAt' | 'ownerEpoch' | 'ownerId' | 'result' | 'error' | 'runOptions' | 'newerVersion'
  > {
  /** Version of the meaning of its rows. Default: that of this process. */
  readonly schemaVersion?: number
  /** Results that rerunFlow takes over from another flow; they are stored under the id of this one. */
  readonly carried?: readonly StepResult[]
}

/** A request to run a flow in one process. */
export interface Claim extends FlowStart {
  readonly ownerId: string
  /** The job of the engine that drives the flow. If it is repeated, `claimNext` with this job finds the flow. */
  readonly jobId?: string
}

/** The epoch of a successful claim, or what prevents it. */
export type ClaimAnswer = { readonly epoch: number } | ClaimRefusal

/** Facts of one flow that are written together. */
export interface JournalEntry {
  readonly flowId: string
  /** The epoch of the claim under which the flow runs. */
  readonly epoch: number
  readonly results?: readonly StepResult[]
  readonly updates?: readonly StoredUpdate[]
  /** Calls that are about to be made. A result of the same step, iteration and sample removes them. */
  readonly intents?: readonly CallIntent[]
  /** Rows of steps that call tools, with their attempts. An attempt removes the intent of its number. */
  readonly turns?: readonly StepTurn[]
  /**
   * Steps with tools that no execution continues: the blocks of their vendors, which hold reasoning, are removed from
   * their rows. Rows of the same steps must not be part of the entry.
   */
  readonly closedTurns?: readonly TurnsOfStep[]
  /** Messages for the thread of the flow; a message whose id is already stored is not written again. */
  readonly messages?: readonly Message[]
  /** Events for webhooks, which announce updates of this entry. */
  readonly deliveries?: readonly NewDelivery[]
  /** Steps that wait. One that is stored with the same hash keeps its decision; with another hash it starts anew. */
  readonly waits?: readonly StepWait[]
}

export interface FlowOutcome {
  readonly status: FlowStatus
  /** Undefined if a single step of a flow was executed that has not run before. */
  readonly completedAt?: Date
  readonly result?: StoredFlowResult
  readonly error?: ErrorInfo
  readonly simulated: boolean
  /** Of a PAUSED flow: when it continues by itself. A decision that came while it ran makes it due at once. */
  readonly wakeAt?: Date
}

/**
 * All writes of running flows. On a database, waiting writes are combined into one statement, which is one transaction
 * for all flows. A write that the database refuses must not fail the others of its statement. While Postgres does not
 * answer, writes are repeated: `createFlow`, `claim` and `enqueue` for `retryForMs`, then they reject with
 * DATABASE_UNAVAILABLE; `append` and `finish` until the store is closed, or until too many bytes wait.
 */
export interface Journal {
  /**
   * Stores a new flow as PENDING, with the results it carries. Called once per flow. Rejects with THREAD_NOT_FOUND if
   * the thread does not exist or is being deleted, and with INTERNAL if the id is in use.
   */
  createFlow(flow: FlowInsert): Promise<void>
  /**
   * Makes the flow RUNNING under the next epoch when its status is one of `from`. Resolves with that epoch, or with the
   * status that prevents it; undefined for an unknown flow. Of several claims at the same time, in any process, exactly
   * one succeeds. Called once per execution, and by a process that cancels a flow of another one.
   */
  claim(claim: Claim): Promise<ClaimAnswer>
  /**
   * Makes the flow RUNNING without an owner when its status is one of `from`, so that a process takes it with
   * `claimNext`. The epoch stays, because a queued flow writes nothing. A store that was opened with `addJob` adds the
   * job of the engine in the same transaction. Called once per start by engines that queue flows.
   */
  enqueue(start: FlowStart): Promise<ClaimAnswer>
  /**
   * Appends results with their attempts, updates, intents and messages, in the order of the calls. A recorded SUCCESS
   * is never replaced; any other result is, by a later one of the step. Called after every step, and every 50 ms while
   * an answer is streamed. Rejects with FLOW_INTERRUPTED, and writes nothing, when the flow was claimed again or
   * deleted.
   */
  append(entry: JournalEntry): Promise<void>
  /**
   * Sets the outcome of the flow together with its last results and updates. Called once per execution. Rejects with
   * FLOW_INTERRUPTED as `append` does.
   */
  finish(entry: JournalEntry & { readonly outcome: FlowOutcome }): Promise<void>
}

/** An update as stored. `data` is absent if a step result or the result of the flow contains it. */
export interface StoredUpdate {
  /** From 1, rising within a flow. */
  readonly seq: number
  readonly type: FlowUpdateType
  /** The step that the update is about; absent if it is about the flow. */
  readonly path?: string
  readonly iteration?: number
  readonly data?: unknown
  readonly timestamp: Date
}

/** The status of a flow and the number of its newest update, 0 if it has none. */
export interface FlowHead {
  readonly status: FlowStatus
  readonly lastSeq: number
}

/** Reads the update logs that the journal writes. */
export interface UpdateRepository {
  /**
   * Updates with a `seq` above `afterSeq`, in order. Batches are read whole, so there may be more than `limit`; there
   * are fewer only at the end of the log. Called once per page by subscriptions and when a flow is resumed; calls of
   * one turn of the event loop share a statement.
   */
  read(flowId: string, afterSeq: number, limit: number): Promise<readonly StoredUpdate[]>
  /** The number of the newest update, 0 for an empty log. */
  lastSeq(flowId: string): Promise<number>
  /**
   * Heads of the flows; unknown flows are left out. Must be one statement for any number of flows: it is called several
   * times a second with all flows that have a subscription.
   */
  heads(flowIds: readonly string[]): Promise<ReadonlyMap<string, FlowHead>>
  /**
   * Joins the text chunks of a flow that has ended: one row per 64,000 characters instead of one per 50 ms. Afterwards
   * `read` returns consecutive chunks of one text as one update with the number of the last, and for a number between
   * them the rest of the text. Called once per execution, in the background; must be safe while updates are read,
   * pruned or appended.
   */
  compact(flowId: string): Promise<void>
  /**
   * Removes the updates of flows that settled before the instant, and resolves with the number of flows. Called by a
   * timer in every process: one at a time removes, the others resolve with 0.
   */
  prune(settledBefore: Date): Promise<number>
}

/** Registers the processes that run flows, so that flows of a dead process are found. */
export interface OwnerRepository {
  /**
   * Records by the clock of the database that the owner is alive; the first call registers it. Called every few
   * seconds.
   */
  heartbeat(owner: Owner): Promise<void>
  /** Removes an owner that is about to exit and runs no flow. */
  unregister(ownerId: string): Promise<void>
  /**
   * Marks an owner as dead that is about to exit and leaves flows RUNNING, so that another process takes them over at
   * once.
   */
  expire(ownerId: string): Promise<void>
  /**
   * Marks RUNNING flows of dead owners FAILED with FLOW_INTERRUPTED, adds an `error` update as their last, and raises
   * their epoch. An owner is dead when it sent no heartbeat for `staleMs`, or when `isDead` returns true, because its
   * process on this host no longer exists. `deliverTo`: webhooks that the `error` update is delivered to. Resolves with
   * the ids of the flows. Called with every heartbeat; must be safe in several processes at the same time.
   */
  interruptOrphanedFlows(options: {
    readonly staleMs: number
    readonly isDead: (owner: Owner) => boolean
    readonly deliverTo?: readonly string[]
  }): Promise<readonly string[]>
}

/** A process that runs flows. */
export interface Owner {
  readonly id: string
  readonly host: string
  readonly pid: number
}
