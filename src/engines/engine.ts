import type { CancellationToken } from '../async/cancellation-token.ts'
import type { FlowStart } from '../domain/execution/flow.ts'
import type { FlowStatus } from '../domain/vocabulary.ts'

/** One claimed flow to drive; its state is in the database. */
export interface FlowJob {
  readonly flowId: string
  /** Epoch under which the flow was claimed. */
  readonly epoch: number
}

/**
 * Drives a claimed flow to its end. Must never reject: an error is the flow's outcome. The cancellation ends the flow,
 * whether the engine or the application cancels it. Resolves with `unsettled` if the outcome could not be stored,
 * because the database did not answer: the flow is still RUNNING there. Implemented by createFlowRunner.
 */
export type Advance = (job: FlowJob, cancellation: CancellationToken) => Promise<unknown>

/** The part of the run registry that an engine needs. Implemented by createRunRegistry. */
export interface EngineRuns {
  /**
   * Registers a flow that the engine accepts and calls `advance` with the token that cancels it. Resolves when the flow
   * no longer runs, with what `advance` resolved with; never rejects.
   */
  drive(job: FlowJob, advance: Advance): Promise<unknown>
  /**
   * Ends a flow with `reason`. Resolves with true when it has ended, with false if this process does not run it. A flow
   * that is being started is ended if the engine drives it; if it queues it instead, the answer is false.
   */
  cancel(flowId: string, reason: unknown): Promise<boolean>
  /** Ends every flow with `reason`. Resolves when none is running. */
  cancelAll(reason: unknown): Promise<void>
  /** Number of flows that an engine is driving. */
  countDriven(): number
  /** Flows that an engine is driving, with the epochs of their claims. */
  driven(): readonly FlowJob[]
}

/** A flow that has been in the queue for long. */
export interface OverdueFlow {
  readonly flowId: string
  /** The definition with functions that a process must have registered to run it; absent if every process can. */
  readonly requires?: string
}

/**
 * An epoch, or the status that prevents a claim; undefined for an unknown flow. `newerVersion`: the version of the
 * flow's rows, if only that prevents it.
 */
type Claimed = { readonly epoch: number } | { readonly status: FlowStatus | undefined; readonly newerVersion?: number }

/**
 * What engines do with stored flows; which flow runs next is decided there, so that every engine has the same order.
 * Implemented by `Journal` and `QueueRepository` of the store, put together by composition.
 */
export interface EngineFlows {
  /** Gives a startable flow to this process, in one statement; with `jobId` for this job, as `claimNext` does. */
  claim(claim: FlowStart & { readonly ownerId: string; readonly jobId?: string }): Promise<Claimed>
  /** Makes a startable flow queued, in one statement, with the job of the engine where the store adds it. */
  enqueue(start: FlowStart): Promise<Claimed>
  /**
   * Claims the flow of a repeated job, otherwise the next queued flow that this process can run. `unrunnable`: number
   * of queued flows whose definition it has not registered.
   */
  claimNext(request: {
    readonly ownerId: string
    readonly startedAt: Date
    readonly registered: readonly string[]
    readonly perUser?: number
    readonly jobId?: string
  }): Promise<FlowJob | { readonly unrunnable: number }>
  /** Puts a flow back into the queue under its next epoch; false if it is no longer owned under that epoch. */
  release(job: FlowJob): Promise<boolean>
  /** Puts a paused flow into the queue; false for any other flow. */
  wake(flowId: string): Promise<boolean>
  /** Puts paused flows into the queue whose time has come, and resolves with their ids. */
  wakeDue(limit: number): Promise<readonly string[]>
  /** Flows that have been queued for longer than `olderThanMs`, the oldest first. */
  findQueued(olderThanMs: number, limit: number): Promise<readonly OverdueFlow[]>
  /** Milliseconds by which the clock of this process is ahead of the clock of the database. */
  clockOffsetMs(): Promise<number>
}

/** Limits on flows that run at the same time. */
export interface RunningLimits {
  /** Flows that this process runs at once. */
  readonly perProcess?: number
  /** Flows of one user that run at once, over all processes. */
  readonly perUser?: number
}

/** Collaborators that every engine gets from composition. */
export interface EngineDeps {
  readonly runs: EngineRuns
  readonly flows: EngineFlows
  /** The owner id of this process. */
  readonly ownerId: string
  /** What this process can run of `FlowStart.requires`. Implemented by createFlowDefinitions. */
  readonly registered: () => readonly string[]
  readonly limits: RunningLimits
  /** Whether this process runs flows. With false it queues those that it starts, and takes none from the queue. */
  readonly takesFlows: boolean
  readonly now: () => Date
}

/** State of an engine, for status pages and probes. */
export interface EngineHealth {
  /** Its name in the configuration: `local` or `bullmq`. */
  readonly engine: string
  /** Number of flows that the engine is driving in this process. */
  readonly running: number
  /** Whether it accepts flows. */
  readonly ok: boolean
  /** Why it does not take flows from the queue although it accepts them, for example a clock that is wrong. */
  readonly problem?: string
}

/**
 * Owns flows and drives them. `local` does so in this process; other engines keep the same contract over many machines.
 *
 * ```ts
 * import type { Engine } from './engine.ts'
 *
 * // Calls `accepted` with the id of every flow that another engine has accepted.
 * export const observed = (engine: Engine, accepted: (flowId: string) => void): Engine => ({
 *   ...engine,
 *   async start(start) {
 *     const outcome = await engine.start(start)
 *     accepted(start.flowId)
 *     return outcome
 *   },
 * })
 * ```
 */
export interface Engine {
  /** Called once, before the first start. */
  work(advance: Advance): void
  /**
   * Claims or queues a flow; resolves when it is accepted, not when it is done. `running`: this process drives it;
   * `queued`: this or another process will. Rejects with INTERNAL before `work`, with FLOW_INTERRUPTED after `close`,
   * and with the error of `notStartable` if the status of the flow is not one of `from`.
   */
  start(start: FlowStart): Promise<'running' | 'queued'>
  /**
   * Begins to take flows from the queue, up to the limits, of any process. Called by processes that run flows
   * of others. Until then, and until the first flow that it queues or wakes itself, a process takes none, so that a
   * process that only reads the database runs nothing. Does nothing if `takesFlows` is false. Resolves when the engine
   * is ready. Safe to call twice.
   */
  takeQueued(): Promise<void>
  /**
   * Must reach the socket of the running attempt within 100 ms in this process. Resolves with true when the flow has
   * ended, with `reason` or otherwise, and with false if this process does not run it, which for a flow that is being
   * started is known when `start` is over.
   */
  cancel(flowId: string, reason: unknown): Promise<boolean>
  /** Wakes a paused flow. Must change nothing for a flow that is not paused. */
  signal(flowId: string): Promise<void>
  /**
   * Something changed that may make a queued flow runnable here, such as a new registration. Called after registerFlow.
   */
  recheckQueue(): void
  health(): Promise<EngineHealth>
  /**
   * Takes no further flow from the queue; running ones continue. With `handOver` a flow that is interrupted from now on
   * is put back into the queue at once. Called before the grace period of a process that closes.
   */
  drain(options: { readonly handOver: boolean }): void
  /**
   * Takes no further flow, ends running ones with `reason` and resolves when none is running; accepts no flow from then
   * on. With `handOver` running flows are put back into the queue instead, under their next epoch. Safe to call twice.
   */
  close(reason: unknown, options?: { readonly handOver: boolean }): Promise<void>
}

const IDLE_POLL_MS = 50

/** Resolves when the engine drives no more flows, or after `withinMs`. */
export async function untilIdle(engine: Pick<Engine, 'health'>, withinMs: number): Promise<void> {
  for (const deadlineMs = performance.now() + withinMs; performance.now() < deadlineMs; ) {
    if ((await engine.health()).running === 0) return
    await new Promise((resolve) => setTimeout(resolve, IDLE_POLL_MS))
  }
}
