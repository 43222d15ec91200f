import type { ServiceState } from '../../domain/services/service-state.ts'

/** A service that this process runs, or is about to, as the others learn of it. */
export interface AdvertisedRun {
  readonly serviceId: string
  /** Address under which other machines reach it. */
  readonly address: string
  readonly state: ServiceState
}

/** A service that another process advertises. */
export interface FoundRun extends AdvertisedRun {
  readonly ownerId: string
  /** Name of the machine of that process. */
  readonly host: string
}

/** The services that all processes of a database run for each other. Composition implements it with the repository. */
export interface ServiceTable {
  /** Stores or confirms services of this process. What is confirmed no more counts as gone after `STALE_MS`. */
  advertise(services: readonly AdvertisedRun[]): Promise<void>
  /** Removes services of this process; all of them without `ids`. */
  withdraw(ids?: readonly string[]): Promise<void>
  /** At most one run of other processes for each of the services. */
  find(ids: readonly string[]): Promise<readonly FoundRun[]>
}

/** Milliseconds without a confirmation after which a row counts as gone. */
export const STALE_MS = 15_000
/** Milliseconds between two confirmations, and between two readings of what others confirm. */
export const ROUND_MS = 4_000
