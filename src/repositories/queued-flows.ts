import type { Owner } from './running-flows.ts'

/** A request for the next flow of the queue, by a process that is below its limits. */
export interface ClaimNext {
  readonly ownerId: string
  readonly startedAt: Date
  /** Values of `FlowStart.requires` that this process can run; flows that require nothing always match. */
  readonly registered: readonly string[]
  /** Users with as many owned flows get no further one. Default: no limit. */
  readonly perUser?: number
  /**
   * The job of the engine for which a flow is claimed. If a flow was claimed for this job before and has not ended, the
   * job was repeated, and the flow is claimed again under the next epoch, whichever process owns it.
   */
  readonly jobId?: string
}

/** The claimed flow; otherwise the number of queued flows whose definition this process has not registered. */
export type ClaimNextAnswer = { readonly flowId: string; readonly epoch: number } | { readonly unrunnable: number }

/** A flow that waits for an owner. */
export interface QueuedFlow {
  readonly flowId: string
  readonly userId: string
  readonly queuedAt: Date
  /** The definition with functions that a process must have registered to run it. */
  readonly requires?: string
}

export interface OrphanOptions {
  /** Milliseconds without a heartbeat after which an owner is dead. */
  readonly staleMs: number
  /** Whether an owner is known to be dead, because its process on this host no longer exists. */
  readonly isDead: (owner: Owner) => boolean
}

/** Numbers of unfinished flows. */
export interface QueueCounts {
  readonly queued: number
  readonly running: number
}

/** Queued flows of one definition that this process cannot run. */
export interface UnrunnableDefinition {
  readonly name: string
  readonly version?: string
  /** Version of the flows' rows, if it is newer than this process knows; otherwise functions are not registered. */
  readonly newerVersion?: number
  readonly flows: number
}

/**
 * The queue of flows, which every engine shares: a queued flow is RUNNING and has no owner. Flows enter it by
 * `Journal.enqueue`. Which flow runs next is decided here and not by an engine, so that the order is fair on every
 * store.
 */
export interface QueueRepository {
  /**
   * Claims the next flow under its next epoch: of the user with the fewest owned flows, the one that has been queued
   * the longest. Of several calls at the same time, in any process, each gets another flow. Called when an engine is
   * below its limits.
   */
  claimNext(request: ClaimNext): Promise<ClaimNextAnswer>
  /**
   * Puts a running flow back into the queue, before flows that were created later, under the next epoch, which becomes
   * the `recordedEpoch` of its options: the caller has recorded every call. Resolves with false if the flow has another
   * epoch, or if its options do not let another process continue it. Called for every running flow when a process hands
   * over.
   */
  release(flow: { readonly flowId: string; readonly epoch: number }): Promise<boolean>
  /**
   * Makes a PAUSED flow queued. Resolves with false for any other flow. Called when a decision or an event arrives.
   */
  wake(flowId: string): Promise<boolean>
  /**
   * Makes at most `limit` PAUSED flows queued whose time to wake has come, and resolves with their ids. Called every
   * second; must be safe in several processes at the same time.
   */
  wakeDue(limit: number): Promise<readonly string[]>
  /**
   * Puts running flows of dead owners back into the queue under the next epoch, and resolves with their ids. Called
   * every few seconds; must be safe in several processes at the same time.
   */
  requeueOrphans(options: OrphanOptions): Promise<readonly string[]>
  /** Flows that have been queued for longer than `olderThanMs`, the oldest first. Called every few seconds. */
  findQueued(olderThanMs: number, limit: number): Promise<readonly QueuedFlow[]>
  /** When the flow was queued, by the clock of the database; undefined if it is not queued. */
  queuedAt(flowId: string): Promise<Date | undefined>
  /** Queued and running flows by user. Must not be called on the way of a flow, because it reads the whole queue. */
  countsByUser(): Promise<ReadonlyMap<string, QueueCounts>>
  /** Queued flows that a process with these registrations cannot run. Called by health checks. */
  unrunnable(registered: readonly string[]): Promise<readonly UnrunnableDefinition[]>
  /**
   * Milliseconds by which the clock of this process is ahead of the clock of the database; negative if it is behind.
   * The error is at most half of the time that the query took.
   */
  clockOffsetMs(): Promise<number>
}
