import type { ServiceState } from './service-state.ts'

/** What is counted of one service since its registration. */
export interface ServiceFigures {
  readonly id: string
  readonly state: ServiceState
  /** Starts after a failure. */
  readonly restarts: number
  /** Calls that have not ended. */
  readonly inFlight: number
  readonly failedProbes: number
  /** Calls that showed that the service works: it answered, or rejected a request that is at fault itself. */
  readonly answeredCalls: number
  /** Calls that failed or were cancelled. */
  readonly unansweredCalls: number
}
