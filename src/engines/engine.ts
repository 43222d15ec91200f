import type { CancellationToken } from '../async/cancellation-token.ts'

/** One claimed flow to drive; its state is in the database. */
export interface FlowJob {
  readonly flowId: string
  /** Epoch under which the flow was claimed. */
  readonly epoch: number
}

/**
 * Drives a claimed flow to its end. Must never reject: an error is the flow's outcome. The cancellation ends the flow,
 * whether the engine or the application cancels it. Implemented by createFlowRunner.
 */
export type Advance = (job: FlowJob, cancellation: CancellationToken) => Promise<void>

/** The part of the run registry that an engine needs. Implemented by createRunRegistry. */
export interface EngineRuns {
  /** Registers a flow that the engine accepts and calls `advance` with the token that cancels it. */
  drive(job: FlowJob, advance: Advance): void
  /** Ends a flow with `reason`. Resolves with true when it has ended, with false if this process does not run it. */
  cancel(flowId: string, reason: unknown): Promise<boolean>
  /** Ends every flow with `reason`. Resolves when none is running. */
  cancelAll(reason: unknown): Promise<void>
  /** Number of flows that an engine is driving. */
  countDriven(): number
}

/** State of an engine, for status pages and probes. */
export interface EngineHealth {
  /** Its name in the configuration: `local`. */
  readonly engine: string
  /** Number of flows that the engine is driving in this process. */
  readonly running: number
  /** Whether it accepts flows. */
  readonly ok: boolean
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
 *   async start(job) {
 *     await engine.start(job)
 *     accepted(job.flowId)
 *   },
 * })
 * ```
 */
export interface Engine {
  /** Called once, before the first start. */
  work(advance: Advance): void
  /**
   * Accepts a claimed flow, under an epoch higher than any before; resolves when it is accepted, not when it is done.
   * Rejects with INTERNAL before `work`, with FLOW_INTERRUPTED after `close`.
   */
  start(job: FlowJob): Promise<void>
  /**
   * Must reach the socket of the running attempt within 100 ms in this process. Resolves with true when the flow has
   * ended, with `reason` or otherwise, and with false if this process does not run it.
   */
  cancel(flowId: string, reason: unknown): Promise<boolean>
  /** Wakes a paused flow. Must change nothing for a flow that is not paused. */
  signal(flowId: string): Promise<void>
  health(): Promise<EngineHealth>
  /**
   * Ends running flows with `reason` and resolves when none is running; accepts no flow from then on. Safe to call
   * twice.
   */
  close(reason: unknown): Promise<void>
}

const IDLE_POLL_MS = 50

/** Resolves when the engine drives no more flows, or after `withinMs`. */
export async function untilIdle(engine: Pick<Engine, 'health'>, withinMs: number): Promise<void> {
  for (const deadlineMs = performance.now() + withinMs; performance.now() < deadlineMs; ) {
    if ((await engine.health()).running === 0) return
    await new Promise((resolve) => setTimeout(resolve, IDLE_POLL_MS))
  }
}
