import type { CancellationToken } from '../async/cancellation-token.ts'

/** One order to drive a flow; holds nothing that is not in the database. */
export interface FlowJob {
  readonly flowId: string
  /** Epoch under which the flow was claimed. */
  readonly epoch: number
}

/** Drives a claimed flow to its end. Must never reject: what goes wrong is the flow's outcome. `stop` ends the flow, from either side. */
export type Advance = (job: FlowJob, stop: CancellationToken) => Promise<void>

/** How an engine is, for status pages and probes. */
export interface EngineHealth {
  /** Its name in the configuration: `local`. */
  readonly engine: string
  /** Flows that it drives in this process now. */
  readonly running: number
  /** Whether it accepts flows. */
  readonly ok: boolean
}

/** Who owns flows and drives them. `local`: this process. Others keep the same promises over many machines. */
export interface Engine {
  /** Called once, before the first start. */
  work(advance: Advance): void
  /**
   * Accepts a claimed flow, under an epoch higher than any before; resolves when it is accepted, not when it is done.
   * Rejects with INTERNAL before `work`, with FLOW_INTERRUPTED after `close`.
   */
  start(job: FlowJob): Promise<void>
  /**
   * Must reach the running attempt's socket within 100 ms in this process. Resolves true when the flow has ended with `reason` or otherwise,
   * false when it does not run here.
   */
  cancel(flowId: string, reason: unknown): Promise<boolean>
  /** Wakes a paused flow. Must change nothing for one that is not paused. */
  signal(flowId: string): Promise<void>
  health(): Promise<EngineHealth>
  /** Ends running flows with `reason` and resolves when nothing runs any more; accepts none from then on. Safe to call twice. */
  close(reason: unknown): Promise<void>
}

const IDLE_LOOK_MS = 50

/** Resolves when the engine drives nothing any more, or when the time is over. */
export async function untilIdle(engine: Pick<Engine, 'health'>, withinMs: number): Promise<void> {
  for (const deadlineMs = performance.now() + withinMs; performance.now() < deadlineMs; ) {
    if ((await engine.health()).running === 0) return
    await new Promise((resolve) => setTimeout(resolve, IDLE_LOOK_MS))
  }
}
