import type { NotificationBus } from '../../notifications/notification.ts'
import type { Owner, OwnerRepository, QueueRepository } from '../../repositories/repository.ts'

/** Logs interrupted flows. Implemented by the configured logger. */
export interface RecoveryLog {
  warn(message: string, facts: Readonly<Record<string, unknown>>): void
}

/** Published by a process that leaves its flows to others. */
const TOPIC = 'owner left'
const HEARTBEAT_INTERVAL_MS = 5_000
const STALE_AFTER_MS = 20_000

/** Milliseconds between two heartbeats of this process from which on the later one was late. */
const LATE_AFTER_MS = STALE_AFTER_MS / 2
/**
 * Milliseconds after a late heartbeat in which no owner counts as dead: the others may have been unable to write theirs
 * as well, and are alive.
 */
const TRUSTED_AFTER_MS = 2 * HEARTBEAT_INTERVAL_MS

export interface RecoveryDeps {
  readonly owners: OwnerRepository
  readonly bus: NotificationBus
  readonly self: Owner
  /** Whether a process of this host exists. Implemented by isProcessRunning. */
  readonly isRunning: (pid: number) => boolean
  /** True if no other process can open this database, so that every other owner is dead. */
  readonly exclusive: boolean
  readonly logger?: RecoveryLog
  /** Ids of webhooks to which errors of flows are delivered. */
  readonly deliverTo?: readonly string[]
  /** Called with the flows that were marked FLOW_INTERRUPTED. Implemented by createResumption. */
  readonly onInterrupted?: (flowIds: readonly string[]) => void
  /**
   * Puts flows of dead processes back into the queue, where the engine has one that other processes take flows from.
   * Only flows that cannot be continued are marked then. Implemented by QueueRepository.
   */
  readonly requeue?: QueueRepository['requeueOrphans']
  /** Called with the flows that were put back. Implemented by Engine. */
  readonly onRequeued?: (flowIds: readonly string[]) => void
}

/** Ids of the owners in this process, because a backend may open several instances over one database. */
const ownersHere = new Set<string>()

/**
 * Sends the heartbeat of this process, and marks flows of dead processes FAILED with FLOW_INTERRUPTED, so that no flow
 * stays RUNNING for ever.
 */
export function createRecovery({
  owners,
  bus,
  self,
  isRunning,
  exclusive,
  logger,
  deliverTo,
  onInterrupted,
  requeue,
  onRequeued,
}: RecoveryDeps) {
  let timer: NodeJS.Timeout | undefined
  let endSubscription: (() => void) | undefined
  let lastBeatMs: number | undefined
  let trustedFromMs = 0

  const isDead = (owner: Owner): boolean => {
    if (ownersHere.has(owner.id)) return false
    if (exclusive) return true
    // A restarted container often has the same host name and process id as before.
    return owner.host === self.host && (owner.pid === self.pid || !isRunning(owner.pid))
  }
  const sweep = async () => {
    await owners.heartbeat(self)
    const beatMs = performance.now()
    if (lastBeatMs !== undefined && beatMs - lastBeatMs >= LATE_AFTER_MS) trustedFromMs = beatMs + TRUSTED_AFTER_MS
    lastBeatMs = beatMs
    if (beatMs < trustedFromMs) return
    const requeued = (await requeue?.({ staleMs: STALE_AFTER_MS, isDead })) ?? []
    if (requeued.length > 0) {
      logger?.warn('flows of a dead process were put back into the queue', { flowIds: requeued })
      onRequeued?.(requeued)
    }
    const flowIds = await owners.interruptOrphanedFlows({ staleMs: STALE_AFTER_MS, isDead, deliverTo })
    if (flowIds.length === 0) return
    logger?.warn('flows of a dead process were marked FLOW_INTERRUPTED', { flowIds })
    onInterrupted?.(flowIds)
  }

  // An unreachable database is queried again at the next heartbeat.
  const sweepQuietly = () => void sweep().catch(() => {})

  return {
    /**
     * Resolves after the first sweep, so that it happens before any flow is started; later sweeps run in the
     * background.
     */
    async start(): Promise<void> {
      ownersHere.add(self.id)
      await sweep()
      timer = setInterval(sweepQuietly, HEARTBEAT_INTERVAL_MS)
      timer.unref()
    },
    /** Finds flows that another process hands over at once. Called when this process begins to continue such flows. */
    awaitLeaving(): void {
      if (!exclusive) endSubscription ??= bus.subscribe(TOPIC, { onMessage: sweepQuietly })
    },
    /**
     * With `handOver` the flows of this process stay RUNNING in the database, and other processes find them at once.
     */
    async stop({ handOver = false }: { readonly handOver?: boolean } = {}): Promise<void> {
      clearInterval(timer)
      endSubscription?.()
      ownersHere.delete(self.id)
      if (!handOver) return owners.unregister(self.id)
      await owners.expire(self.id)
      bus.publish(TOPIC, self.id)
    },
  }
}
