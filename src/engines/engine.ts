import type { Stop } from '../domain/stop.ts'

/** One order to drive a flow; holds nothing that is not in the database. */
export interface FlowJob {
  readonly flowId: string
  /** Epoch under which the flow was claimed. */
  readonly epoch: number
}

/** Drives a claimed flow to its end. Must never reject: what goes wrong is the flow's outcome. `stop` ends the flow, from either side. */
export type Advance = (job: FlowJob, stop: Stop) => Promise<void>

export interface EngineHealth {
  readonly engine: string
  readonly running: number
  readonly ok: boolean
}

/** Who owns flows and drives them. `local`: this process. Others keep the same promises over many machines. */
export interface Engine {
  /** Called once, before the first start. */
  work(advance: Advance): void
  /** Accepts a claimed flow; resolves when it is accepted, not when it is done. */
  start(job: FlowJob): Promise<void>
  /** Must reach the running attempt's socket within 100 ms in this process. Resolves false when the flow does not run here. */
  cancel(flowId: string, reason: unknown): Promise<boolean>
  /** Wakes a paused flow. */
  signal(flowId: string): Promise<void>
  health(): Promise<EngineHealth>
  /** Ends running flows with `reason` and resolves when nothing runs any more. */
  close(reason: unknown): Promise<void>
}
