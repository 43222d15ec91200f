import type { ServiceProcess } from '../domain/services/service-definition.ts'
import type { LogLine } from './service.ts'
import type { ServiceDriver, ServiceRun } from './service-driver.ts'

/**
 * What became of a run that an earlier supervisor of the same folder left behind.
 *
 * - `adopted`: the process is the recorded one and its definition is unchanged; `run` continues it, on `port`;
 * - `ended`: the processes `pids` were verified and ended;
 * - `gone`: nothing of the run was left;
 * - `set_aside`: the record names no process that can be verified. Nothing was signalled; the record is at `path`;
 * - `unkillable`: the processes `pids` are left although they were killed.
 */
export type LeftRun =
  | { readonly id: string; readonly outcome: 'adopted'; readonly run: ServiceRun; readonly port?: number }
  | { readonly id: string; readonly outcome: 'ended' | 'unkillable'; readonly pids: readonly number[] }
  | { readonly id: string; readonly outcome: 'gone' }
  | { readonly id: string; readonly outcome: 'set_aside'; readonly path: string; readonly reason: SetAsideReason }

export type SetAsideReason = 'unreadable' | 'other_boot' | 'other_process' | 'refused_pid'

/** A run of an earlier supervisor that still lives. */
export interface LivingRun {
  readonly id: string
  readonly pids: readonly number[]
}

/** What the present definition of a service says about a process that was left behind. */
export type AdoptionTerms = Pick<ServiceProcess, 'orphans' | 'definitionHash' | 'killTimeoutMs' | 'stopSignal'>

/** Starts programs of this machine and continues those that outlived their supervisor. One per folder and machine. */
export interface ProcessDriver extends ServiceDriver<ServiceProcess> {
  readonly kind: 'process'
  /** Makes this process the supervisor of the folder. Rejects as `adopt` does, and decides about no run. */
  supervise(): Promise<void>
  /**
   * Ends or continues the runs of an earlier supervisor, that of one service with `only`. Must not be called again
   * before it has settled. `findTerms` returns what the present definition of a service says, `undefined` for a service
   * that is defined no more: its run is ended. Runs of this driver, and services that it is starting, are left alone.
   * Rejects with SERVICES_OWNED_ELSEWHERE, and `details.pid`, while another process supervises the folder; so does
   * `start`.
   */
  adopt(findTerms: (id: string) => AdoptionTerms | undefined, only?: string): Promise<readonly LeftRun[]>
  /**
   * The runs of an earlier supervisor of the folder that have processes, and those of another process that is the
   * present one. Reads only.
   */
  findLiving(): Promise<readonly LivingRun[]>
  /**
   * Reads the log of a service: its last `lines` lines (default 200), and with `follow` every later one until `signal`
   * aborts. Ends at once for a service without a log.
   */
  logs(
    id: string,
    options?: { readonly lines?: number; readonly follow?: boolean; readonly signal?: AbortSignal },
  ): AsyncIterable<LogLine>
  /** Finds a free TCP port of 127.0.0.1 that no other caller was given; it stays reserved until it is released. */
  allocatePort(): Promise<number>
  releasePort(port: number): void
  /** Gives the folder to the next supervisor. Runs that are left continue; the caller ends them first. */
  close(): Promise<void>
}
