import type { FlowLimits } from '../domain/definition/flow-definition.ts'
import type { FlowUpdateType } from '../domain/execution/flow-update.ts'
import type { StepKey, StepResult } from '../domain/execution/step-result.ts'
import type { Usage } from '../domain/execution/usage.ts'
import type { PageCursor } from '../domain/page-cursor.ts'
import type { DataSharingPolicy } from '../domain/users/sharing.ts'
import type { Message, Thread, ThreadRight } from '../domain/users/thread.ts'
import type { FlowStatus, FlowType, StopReason } from '../domain/vocabulary.ts'
import type { ErrorInfo } from '../errors/orchestrator-error.ts'
import type { ApiKeyRepository, IdempotencyRepository, TicketRepository, UsageRepository } from './caller-repositories.ts'

export type { ApiKeyRepository, IdempotencyRepository, TicketRepository, UsageRepository } from './caller-repositories.ts'

/** Everything that is kept, over one database. Built once; every implementation passes `test/contracts/repository.ts`. */
export interface Store {
  readonly kind: 'memory' | 'pglite' | 'postgres'
  readonly flows: FlowRepository
  readonly threads: ThreadRepository
  readonly permissions: PermissionRepository
  readonly dataSharing: DataSharingRepository
  readonly updates: UpdateRepository
  readonly owners: OwnerRepository
  readonly journal: Journal
  readonly apiKeys: ApiKeyRepository
  readonly tickets: TicketRepository
  readonly idempotency: IdempotencyRepository
  readonly usage: UsageRepository
  /** Resolves when everything accepted is written and the database is released. */
  close(): Promise<void>
}

/** A flow as stored: no step results, the definition by its hash. */
export interface StoredFlow {
  readonly id: string
  readonly threadId: string
  readonly userId: string
  readonly name: string
  readonly description?: string
  readonly flowType: FlowType
  readonly definition: StoredDefinition
  readonly status: FlowStatus
  readonly createdAt: Date
  readonly startedAt?: Date
  readonly completedAt?: Date
  readonly input?: string
  readonly metadata?: Readonly<Record<string, unknown>>
  readonly parentFlowId?: string
  readonly ownerEpoch: number
  readonly ownerId?: string
  readonly result?: StoredFlowResult
  readonly error?: ErrorInfo
  readonly simulated: boolean
  /** Of the last execution, where another process may go on with it after a crash without being asked. */
  readonly runOptions?: StoredRunOptions
}

/** A flow as lists read it: without the texts that it was given and that it wrote, however long they are. */
export interface ListedFlow extends Omit<StoredFlow, 'input' | 'metadata' | 'runOptions' | 'result'> {
  /** The first `INPUT_START_CHARACTERS` of the input. */
  readonly inputStart?: string
  readonly result?: Omit<StoredFlowResult, 'output'>
}

export const INPUT_START_CHARACTERS = 200

/** That a step has a result, and which; what it wrote is not read. */
export type StepState = Pick<StepResult, 'stepId' | 'status'>

/** How an execution was to go, as executeFlow takes it. */
export interface StoredRunOptions {
  readonly streaming?: boolean
  readonly saveMessages?: boolean
  /** Milliseconds. */
  readonly timeout?: { readonly flow?: number; readonly step?: number }
  readonly limits?: FlowLimits
}

/** A definition is stored once per content. */
export interface StoredDefinition {
  /** SHA-256 (hex) of the canonical JSON. */
  readonly hash: string
  /** JSON text; functions stand as `{"$function":true}`. */
  readonly json: string
  /** False when functions are missing from `json`. */
  readonly isData: boolean
  readonly version?: string
}

/** The flow's outcome without what the step results already hold. */
export interface StoredFlowResult {
  /** Step whose output is the flow's output. */
  readonly final?: StepKey
  /** The output itself, only where no single step's output is it. */
  readonly output?: string
  readonly totalCost: number
  readonly totalTokens: number
  readonly usage: Usage
  readonly unpricedSteps: number
  readonly totalExecutionTime: number
  readonly stopReason?: StopReason
  /** What counts against the flow's limits: more than the totals where usage is unknown. */
  readonly spent?: { readonly costUsd: number; readonly tokens: number }
}

export interface FlowInsert
  extends Omit<
    StoredFlow,
    'status' | 'startedAt' | 'completedAt' | 'ownerEpoch' | 'ownerId' | 'result' | 'error' | 'runOptions'
  > {
  /** Results carried over by rerunFlow. */
  readonly carried?: readonly StepResult[]
}

/** Where a page ended: the value of the column that the list is sorted by, to the millisecond, and the flow's id. */
export type FlowCursor = PageCursor

/** Flows of a thread, or flows that a user created in any thread: exactly one of the two is named. */
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
  /** Only flows that come after this place, so that pages stay as they are while flows are added. */
  readonly after?: FlowCursor
}

/** The newest flow of its name. */
export interface NamedFlow {
  readonly name: string
  readonly flowId: string
  readonly threadId: string
  readonly createdAt: Date
}

export interface FlowRepository {
  find(flowId: string): Promise<StoredFlow | undefined>
  /** By `completedAt`, flows without one come last in both orders. Ties are broken by id, so that pages never overlap. */
  list(query: ListFlowsQuery): Promise<readonly ListedFlow[]>
  /** The newest flow of that name that the user created, outside the threads that are named. */
  findNewestByName(userId: string, name: string, notInThreads?: readonly string[]): Promise<StoredFlow | undefined>
  /** Names of the flows that the user created, each with its newest flow; newest first. Must not read flows of others. */
  namesOf(userId: string, limit: number): Promise<readonly NamedFlow[]>
  /**
   * Flows that were marked FLOW_INTERRUPTED and may be gone on with (`runOptions`), with an id from `fromId` on: ids rise with the instant they were made at.
   * Asked when a process starts.
   */
  findInterrupted(fromId: string, limit: number): Promise<readonly string[]>
  /** Removes the flow, its results, attempts and updates, unless it is RUNNING. Resolves with what was found. */
  delete(flowId: string): Promise<'deleted' | 'running' | 'missing'>
  /**
   * Results with their attempts, in the order they were recorded. `sample` 0 rows only, unless `samples` asks for all;
   * `stepIds`: results of these steps only.
   */
  stepResults(
    flowId: string,
    options?: { readonly samples?: boolean; readonly stepIds?: readonly string[] },
  ): Promise<readonly StepResult[]>
  /** Steps of the flows that have results, each once for every status it has, in the order they were recorded; no flow is left out. */
  stepStates(flowIds: readonly string[]): Promise<ReadonlyMap<string, readonly StepState[]>>
}

export interface ThreadRepository {
  create(thread: Thread): Promise<void>
  find(threadId: string): Promise<Thread | undefined>
  /** Newest first; `after`: only those that come after this place, whose value is a `createdAt`. */
  list(userId: string, limit: number, offset: number, after?: PageCursor): Promise<readonly Thread[]>
  /** Removes the thread with messages, permissions and flows. */
  delete(threadId: string): Promise<boolean>
  /** Adds a message; one whose id is stored already changes nothing. */
  addMessage(message: Message): Promise<void>
  /** Adds messages of one thread, in order, also where they are of one instant: all or none. */
  addMessages(messages: readonly Message[]): Promise<void>
  /** Oldest first: the newest `limit` messages, of one role where it is named. */
  messages(threadId: string, limit?: number, role?: Message['role']): Promise<readonly Message[]>
  newestUserMessage(threadId: string): Promise<Message | undefined>
}

export interface PermissionRepository {
  rightsOf(userId: string, threadId: string): Promise<readonly ThreadRight[]>
  list(threadId: string): Promise<readonly { readonly userId: string; readonly rights: readonly ThreadRight[] }[]>
  /** Replaces the user's rights on the thread; none removes the row. */
  set(threadId: string, userId: string, rights: readonly ThreadRight[]): Promise<void>
}

export interface DataSharingRepository {
  find(userId: string, providerKey: string): Promise<DataSharingPolicy | undefined>
  list(userId: string): Promise<readonly DataSharingPolicy[]>
  set(policy: DataSharingPolicy): Promise<void>
  remove(userId: string, providerKey: string): Promise<void>
}

/** An update as stored. `data` is absent where a step result or the flow's result holds it already. */
export interface StoredUpdate {
  readonly seq: number
  readonly type: FlowUpdateType
  readonly stepId?: string
  readonly iteration?: number
  readonly data?: unknown
  readonly timestamp: Date
}

/** Where a flow stands and the number of its newest update. */
export interface FlowHead {
  readonly status: FlowStatus
  readonly lastSeq: number
}

export interface UpdateRepository {
  /** Updates with `seq` above `afterSeq`, in order; whole stored batches, so at least `limit` where there are more. */
  read(flowId: string, afterSeq: number, limit: number): Promise<readonly StoredUpdate[]>
  /** 0 when there is none. */
  lastSeq(flowId: string): Promise<number>
  /** How far flows are; unknown ones are left out. One statement, however many: asked several times a second for every flow that somebody follows. */
  heads(flowIds: readonly string[]): Promise<ReadonlyMap<string, FlowHead>>
  /** Removes updates of flows that settled before the instant; resolves with the number of flows touched. */
  prune(settledBefore: Date): Promise<number>
}

/** Processes that own flows, so that flows of a dead one are found. */
export interface OwnerRepository {
  /** Tells that the owner lives; inserts it at first. Called every few seconds, on the database's clock. */
  heartbeat(owner: Owner): Promise<void>
  /** The owner ends by its own will. */
  unregister(ownerId: string): Promise<void>
  /** The owner ends and leaves flows RUNNING: from now on it counts as dead. */
  expire(ownerId: string): Promise<void>
  /**
   * Marks RUNNING flows of dead owners FAILED with FLOW_INTERRUPTED, with an `error` update as their last, and raises their epoch. Dead: no beat for `staleMs`,
   * or `isDead` says so (same host, process gone). Safe to call from several processes at once. Resolves with the ids.
   */
  interruptOrphanedFlows(options: {
    readonly staleMs: number
    readonly isDead: (owner: Owner) => boolean
  }): Promise<readonly string[]>
}

export interface Owner {
  readonly id: string
  readonly host: string
  readonly pid: number
}

/**
 * All writes of running flows. Writes that wait are written together: one statement, one transaction for everything of all flows that arrived since the last
 * one started. A promise resolves when its write is durable. A write that the database refuses must not fail the others of its batch.
 */
export interface Journal {
  /** Rejects with THREAD_NOT_FOUND where the flow's thread does not exist or is being deleted. */
  createFlow(flow: FlowInsert): Promise<void>
  /**
   * Takes the flow when its status is one of `from`: RUNNING, epoch + 1, owner, startedAt, input. Resolves with the new epoch, or with the status that stood in the way
   * (`undefined`: no such flow). Of several claims at once exactly one wins.
   */
  claim(claim: Claim): Promise<{ readonly epoch: number } | { readonly status: FlowStatus | undefined }>
  /**
   * Appends results (with their attempts), updates and messages of a flow, in the order of the calls. Rejects with FLOW_INTERRUPTED when `epoch` is no longer the flow's: nothing is written then.
   * A recorded SUCCESS is never replaced; a FAILED one is, by a later run.
   */
  append(entry: JournalEntry): Promise<void>
  /** Sets the flow's outcome with its last results and updates; same fence. */
  finish(entry: JournalEntry & { readonly outcome: FlowOutcome }): Promise<void>
}

export interface Claim {
  readonly flowId: string
  readonly from: readonly FlowStatus[]
  readonly ownerId: string
  readonly startedAt: Date
  readonly input: string
  readonly metadata?: Readonly<Record<string, unknown>>
  readonly runOptions?: StoredRunOptions
}

export interface JournalEntry {
  readonly flowId: string
  readonly epoch: number
  readonly results?: readonly StepResult[]
  readonly updates?: readonly StoredUpdate[]
  /** Messages for the flow's thread, under the same fence; one whose id is there already is not written again. */
  readonly messages?: readonly Message[]
}

export interface FlowOutcome {
  readonly status: FlowStatus
  /** Absent where a single step of a flow that has not run was executed. */
  readonly completedAt?: Date
  readonly result?: StoredFlowResult
  readonly error?: ErrorInfo
  readonly simulated: boolean
}
