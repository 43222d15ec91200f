/**
 * `idle`: nothing runs, and nothing starts by itself. `waiting`: for dependencies, or until fewer services run.
 * `starting`: runs and is not ready. `running`: ready. `degraded`: runs and is not offered to pools. `stopping`: is
 * being ended. `backoff`: starts again after a wait. `failed`: starts again only on a command.
 */
export const SERVICE_STATES = ['idle', 'waiting', 'starting', 'running', 'degraded', 'stopping', 'backoff', 'failed'] as const
export type ServiceState = (typeof SERVICE_STATES)[number]

export type ServiceHealth = 'unknown' | 'healthy' | 'unhealthy'

/** Why a run of a service ended; `unknown` for a process that was not a child of this one. */
export const EXIT_REASONS = ['crashed', 'start_timeout', 'unhealthy', 'memory', 'stopped', 'completed', 'unknown'] as const
export type ExitReason = (typeof EXIT_REASONS)[number]

/** How a run of a service ended. */
export interface ServiceExit {
  /** Exit code of a process; absent after a signal, and for services without a process. */
  readonly code?: number
  /** Name of the signal that ended a process. */
  readonly signal?: string
  readonly at: Date
}
