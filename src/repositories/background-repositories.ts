import type { FlowUpdateType } from '../domain/execution/flow-update.ts'

/** Identifies an event for one webhook. */
export interface DeliveryKey {
  /** Id of the webhook; derived from its URL. */
  readonly webhookId: string
  readonly flowId: string
  /** Sequence number of the update that is announced. */
  readonly seq: number
}

/** One event for one webhook, as the journal writes it together with the update that it announces. */
export interface NewDelivery extends Omit<DeliveryKey, 'flowId'> {
  readonly type: FlowUpdateType
  readonly timestamp: Date
  /** Facts of the update for the body of the message; never prompts or outputs. */
  readonly facts: Readonly<Record<string, unknown>>
}

/** A delivery that this process sends now. */
export interface ClaimedDelivery extends NewDelivery, DeliveryKey {
  /** Number of this attempt, from 1. */
  readonly attempt: number
  /** Facts of the flow; undefined if it was deleted in the meantime. */
  readonly flow?: { readonly threadId: string; readonly userId: string; readonly name: string }
}

/** The end of one attempt. */
export interface DeliveryAttempt extends DeliveryKey {
  readonly attempt: number
  readonly at: Date
  /** `delivered` counts even if another process has claimed the delivery since; the others do not. */
  readonly state: 'queued' | 'delivered' | 'failed'
  /** When the delivery is due again; only of `queued`. */
  readonly dueAt?: Date
  /** What the receiver answered, or why there was no answer. */
  readonly problem?: string
}

/** One webhook, as its row and its deliveries describe it. */
export interface StoredWebhook {
  readonly id: string
  /** A secret that was made because the configuration has none. */
  readonly secret?: string
  /** When the receiver answered 410; nothing is sent from then on. */
  readonly disabledAt?: Date
}

/** Numbers of deliveries of one webhook. */
export interface DeliveryCounts {
  readonly queued: number
  readonly failed: number
  /** What the receiver answered last, or why it did not; of the delivery with the newest failed attempt. */
  readonly lastProblem?: string
}

/**
 * Webhooks and the outbox of their deliveries. The journal adds deliveries. A claim is a lease: the delivery becomes
 * due again after it, so that the delivery of a dead process is sent by another one.
 */
export interface WebhookRepository {
  /** Stores the secret unless the webhook has one. Resolves with the stored one, the same in every process. */
  keepSecret(id: string, secret: string): Promise<string>
  find(ids: readonly string[]): Promise<readonly StoredWebhook[]>
  /** Marks the webhook as disabled and its queued deliveries as failed. */
  disable(id: string, at: Date, problem: string): Promise<void>
  /** Queues the failed deliveries of a webhook again and enables it. Resolves with their number. */
  retry(id: string, at: Date): Promise<number>
  /**
   * Claims up to `limit` deliveries of a webhook that are due, the longest due first, and makes them due again at
   * `leaseUntil`. None of a disabled webhook. Of several processes, each delivery is claimed by one.
   */
  claim(id: string, limit: number, now: Date, leaseUntil: Date): Promise<readonly ClaimedDelivery[]>
  /** Records the end of an attempt. Changes nothing unless the delivery is queued. */
  settle(attempt: DeliveryAttempt): Promise<void>
  counts(ids: readonly string[]): Promise<ReadonlyMap<string, DeliveryCounts>>
  /**
   * Removes deliveries that were delivered before one instant, and those that failed before another or were due before
   * it, because their webhook is disabled or no longer configured. Called by a timer.
   */
  prune(before: { readonly delivered: Date; readonly failed: Date }): Promise<number>
}

/** State of a schedule, which all processes share. */
export interface StoredSchedule {
  readonly name: string
  /** The timing of which `nextAt` is an instant; a changed configuration sets both anew. */
  readonly timing: string
  readonly nextAt: Date
  /** The instant for which a flow was started last, or should have been. */
  readonly lastAt?: Date
  readonly lastFlowId?: string
  /** Why the last flow was not started. */
  readonly lastProblem?: string
}

/** The end of one instant of a schedule. */
export interface ScheduledRun {
  readonly name: string
  /** The instant that was claimed. */
  readonly instant: Date
  readonly nextAt: Date
  /** Undefined for an instant that is skipped; then the facts of the last run stay. */
  readonly ran?: { readonly at: Date; readonly flowId?: string; readonly problem?: string }
}

/** The states of schedules, and the claims by which one process starts the flow of an instant. */
export interface ScheduleRepository {
  /** Stores a new schedule, and a new `nextAt` for one whose timing differs. */
  keep(schedule: Pick<StoredSchedule, 'name' | 'timing' | 'nextAt'>): Promise<void>
  list(names: readonly string[]): Promise<readonly StoredSchedule[]>
  /**
   * Claims an instant until `leaseUntil`. Of several processes, one gets true; after the lease another one may, because
   * the first has died.
   */
  claim(name: string, instant: Date, now: Date, leaseUntil: Date): Promise<boolean>
  /** Records the run and moves on to the next instant. Changes nothing if another process has done so. */
  advance(run: ScheduledRun): Promise<void>
}
