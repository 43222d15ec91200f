import type { StepWait, StoredWait, WaitDecision, WaitKey } from '../domain/waiting/wait.ts'

/** A decision about one wait. */
export interface WaitAnswer extends WaitKey {
  /** The hash of the wait that was decided about. */
  readonly hash: string
  readonly decision: WaitDecision
  readonly by: string
  readonly at: Date
}

/** An event for every wait that matches and whose thread the user may write. */
export interface WaitEvent {
  readonly userId: string
  readonly event: string
  /** Without it only waits without a correlation match. */
  readonly correlation?: string
  readonly data?: unknown
  readonly at: Date
  /** Maximum number of waits that one call ends. */
  readonly limit: number
}

/** The end of a page of waits. */
export interface WaitCursor extends WaitKey {
  readonly since: Date
}

/**
 * The steps of flows that wait. The journal writes the waits; this repository reads them and ends them. A decision
 * makes its flow due at once, in the same write. Deadlines are compared with the clock of the database, as the wake-up
 * of flows is.
 */
export interface WaitRepository {
  /** All waits of a flow, ended ones included. Called when a flow that was paused continues, and for each decision. */
  of(flowId: string): Promise<readonly StoredWait[]>
  /** Ends the waits of a flow whose deadline has passed. Called before a paused flow continues. */
  expire(flowId: string): Promise<void>
  /**
   * Ends a wait that is open, has the hash, is not over, and whose flow is running or paused; resolves with whether it
   * did. Of several calls at the same time, in any process, exactly one succeeds.
   */
  decide(answer: WaitAnswer): Promise<boolean>
  /** Ends every open wait for the event, at most `limit`, and resolves with them. */
  deliver(event: WaitEvent): Promise<readonly WaitKey[]>
  /** Open waits of paused and running flows that the user may read, the oldest first. */
  list(userId: string, limit: number, after?: WaitCursor): Promise<readonly StepWait[]>
}
