import type { ExitReason, ServiceExit, ServiceHealth, ServiceState } from '../../domain/services/service-state.ts'
import type { ErrorCode } from '../../errors/error-codes.ts'
import type { RestartPolicy } from './restart-policy.ts'

/** What the state machine of a service knows of its definition. Milliseconds. */
export interface MachineSettings {
  readonly startTimeoutMs: number
  readonly minUptimeMs: number
  /** What makes a started service ready: a good probe, a log line, some uptime, or the end of its start. */
  readonly ready: 'probe' | 'line' | 'uptime' | 'started'
  readonly hasProbe: boolean
  readonly drainMs: number
  readonly stopTimeoutMs: number
  readonly killTimeoutMs: number
  readonly failureThreshold: number
  readonly successThreshold: number
  readonly restartAfterMs: number
  readonly restart: RestartPolicy
  readonly successExitCodes: readonly number[]
}

export interface MachineError {
  readonly code: ErrorCode
  readonly message: string
  readonly details?: Readonly<Record<string, unknown>>
}

/** Meaning of the one timer that a service has at a time. */
export type TimerName = 'start' | 'uptime' | 'drain' | 'stop' | 'kill' | 'backoff' | 'unhealthy' | 'reset'

/** Everything that the machine of one service remembers. */
export interface MachineModel {
  readonly state: ServiceState
  readonly health: ServiceHealth
  /** Number of the run that is alive; absent while nothing runs. */
  readonly run?: number
  /** Number of runs so far. */
  readonly runs: number
  /** Whether the driver has said that the run exists. */
  readonly exists: boolean
  /** Failures in a row. */
  readonly attempt: number
  /** Starts after a failure since the registration. */
  readonly restarts: number
  /** Set in `backoff`: when the service starts again, on the monotonic clock. */
  readonly nextStartAtMs?: number
  /** When the service became ready in this run. */
  readonly readyAtMs?: number
  /** In `stopping`: what comes after it. */
  readonly next: 'idle' | 'waiting' | 'backoff'
  /** In `stopping`: why. */
  readonly reason?: ExitReason
  readonly timer?: { readonly name: TimerName; readonly token: number }
  /** Number of timers so far. */
  readonly timers: number
  readonly badProbes: number
  readonly goodProbes: number
  /** Times that the service became degraded since it was last healthy for long. */
  readonly flaps: number
  /** Samples in a row with more memory than the limit. */
  readonly overLimit: number
  readonly missedLeases: number
  readonly lastExit?: ServiceExit & { readonly reason: ExitReason }
  readonly lastError?: MachineError
}

export const IDLE_MODEL: MachineModel = {
  state: 'idle',
  health: 'unknown',
  runs: 0,
  exists: false,
  attempt: 0,
  restarts: 0,
  next: 'idle',
  timers: 0,
  badProbes: 0,
  goodProbes: 0,
  flaps: 0,
  overLimit: 0,
  missedLeases: 0,
}

/** Memory of a run against its limit; `far_over`: so much more that the run gets no time to end by itself. */
export type MemoryUse = 'within' | 'over' | 'far_over'

/** What belongs to each kind of event. */
interface EventFields {
  start: object
  /** `drainMs`: milliseconds that calls in flight get; default: those of the settings. */
  stop: { readonly drainMs?: number }
  restart: object
  /** The dependencies run and fewer services than the limit. */
  admitted: object
  dependency_failed: { readonly error: MachineError }
  started: { readonly run: number }
  start_failed: { readonly run: number; readonly error: MachineError }
  /** The log line of its readiness, or a registration by the service itself. */
  ready: { readonly run: number }
  probe: { readonly run: number; readonly ok: boolean }
  call_succeeded: { readonly run: number }
  drained: { readonly run: number }
  exit: { readonly run: number; readonly exit: ServiceExit }
  unkillable: { readonly run: number; readonly error: MachineError }
  /** One sample of the memory of the run. */
  memory: { readonly run: number; readonly use: MemoryUse }
  lease_missed: { readonly run: number }
  beat: { readonly run: number }
  timer: { readonly token: number }
}

export type EventKind = keyof EventFields

/** What happened to a service. Events of a run carry its number: those of an older run change nothing. */
export type MachineEvent<Kind extends EventKind = EventKind> = { [K in Kind]: { readonly kind: K } & EventFields[K] }[Kind]

export type ProbePace = 'off' | 'start' | 'steady' | 'retry'

/** What is to be done. The life of a service does it; the machine does nothing by itself. */
export type MachineEffect =
  | { readonly kind: 'enqueue' }
  | { readonly kind: 'dequeue' }
  | { readonly kind: 'spawn'; readonly run: number }
  | { readonly kind: 'abort_start'; readonly run: number }
  | { readonly kind: 'drain'; readonly run: number }
  | { readonly kind: 'request_stop'; readonly run: number }
  | { readonly kind: 'kill'; readonly run: number }
  | { readonly kind: 'pace'; readonly pace: ProbePace }
  | { readonly kind: 'set_timer'; readonly token: number; readonly delayMs: number }
  | { readonly kind: 'clear_timer' }
  | { readonly kind: 'limit'; readonly limit: 'memory' }

export interface MachineStep {
  readonly model: MachineModel
  readonly effects: readonly MachineEffect[]
}
