import type { ServiceState } from '../domain/services/service-state.ts'

/** A service that a process runs, or is about to, as that process states it. */
export interface AdvertisedService {
  readonly serviceId: string
  /** Address under which other machines reach the service. */
  readonly address: string
  readonly state: ServiceState
}

/** A service that another process runs. */
export interface RunningService extends AdvertisedService {
  /** Id of the process. */
  readonly ownerId: string
  /** Name of its machine. */
  readonly host: string
}

/**
 * Services that processes run for each other, one row per service and process. A row counts as long as its process
 * confirms it, by the clock of the database, and until the process is known to be dead.
 */
export interface ServiceRepository {
  /**
   * Stores or confirms the services of a registered process. Removes rows of other processes that were confirmed more
   * than `staleMs` ago.
   */
  advertise(ownerId: string, services: readonly AdvertisedService[], staleMs: number): Promise<void>
  /** Removes services of a process; all of them without `serviceIds`. */
  withdraw(ownerId: string, serviceIds?: readonly string[]): Promise<void>
  /**
   * Of each of the services the one that other processes than `exceptOwner` run: one that runs or is degraded before
   * all others, then the one that was advertised last. So the answer changes with a state, and not with a confirmation.
   */
  find(serviceIds: readonly string[], exceptOwner: string, staleMs: number): Promise<readonly RunningService[]>
}
