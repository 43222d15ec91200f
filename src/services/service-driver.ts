import type { ServiceExit } from '../domain/services/service-state.ts'

/** What a process tree uses. */
export interface RunUsage {
  readonly processes: number
  /** Resident memory of all processes in bytes. */
  readonly memoryBytes: number
  /** Percent of one core since the last sample. */
  readonly cpuPercent: number
}

/** How the limits of a run are kept; `none` where no limit is set or the machine cannot keep it. */
export interface EnforcedLimits {
  readonly memory: 'rlimit+sampled' | 'sampled' | 'none'
  readonly cpu: 'priority' | 'none'
}

/** What a limit is about. */
export type ServiceLimit = 'memory' | 'cpu'

/** One run of a service, from its start to its exit. */
export interface ServiceRun {
  readonly runId: string
  readonly startedAt: Date
  /** Whether an earlier supervisor started the run. */
  readonly adopted: boolean
  /** Present for a process of this machine. */
  readonly process?: { readonly pid: number; readonly limits: EnforcedLimits }
  /** Resolves once, when the run has ended by itself or by a command. Never rejects. */
  readonly ended: Promise<ServiceExit>
  /**
   * Asks the run to end; `ended` resolves when it has. A process has ended when every process that it started has:
   * one that ignores the request is left to `kill`, which the caller calls when its patience is over.
   */
  requestStop(): Promise<void>
  /**
   * Ends the run and everything it started by force. Resolves when nothing of it is left. Rejects with
   * SERVICE_UNKILLABLE, and `details.pids`, if something is left after `killTimeoutMs`.
   */
  kill(): Promise<void>
  /**
   * What the run uses, as it was at most `maxAgeMs` ago (default 500): callers within that time share one reading.
   * Absent for services without a process. `undefined` if the process is gone. Rejects while it cannot be read.
   */
  usage?(maxAgeMs?: number): Promise<RunUsage | undefined>
}

/** Starts runs of services of one kind. One file in `drivers/` per kind. */
export interface ServiceDriver<Start> {
  readonly kind: 'process' | 'remote' | 'in_process'
  /**
   * Starts a run and resolves when it exists; it need not be ready. Rejects with SERVICE_START_FAILED (no such program
   * or directory, no permission) or SERVICE_PORT_TAKEN, and nothing is left of it then.
   */
  start(service: Start, run: RunStart): Promise<ServiceRun>
}

export interface RunStart {
  /** Must differ from the id of every other run of this machine, also those of other supervisors: a UUID. */
  readonly runId: string
  /** After an abort nothing is started; a run that exists already is not ended by it. */
  readonly signal: AbortSignal
  /**
   * Called with every line that a process writes, from its first one: valid text without control sequences, at most
   * 64 KiB. Lines are split only where this is given. Return false to end the calls.
   */
  readonly onLine?: (text: string) => unknown
}
