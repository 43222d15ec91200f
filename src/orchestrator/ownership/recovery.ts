import type { Owner, OwnerRepository } from '../../repositories/repository.ts'

/** Told of what was found; the configured logger fits. */
export interface RecoveryLog {
  warn(message: string, facts: Readonly<Record<string, unknown>>): void
}

const BEAT_EVERY_MS = 5_000
const STALE_AFTER_MS = 20_000

export interface RecoveryDeps {
  readonly owners: OwnerRepository
  readonly self: Owner
  /** Whether a process of this host exists. Implemented by isProcessRunning. */
  readonly isRunning: (pid: number) => boolean
  /** No other process can hold this database: every other owner is dead. */
  readonly exclusive: boolean
  readonly logger?: RecoveryLog
  /** Told of flows that were marked. */
  readonly onInterrupted?: (flowIds: readonly string[]) => void
}

/** Owners of this process: a backend may build several over one database. */
const ownersHere = new Set<string>()

/** Tells the others that this process lives, and marks flows of dead ones FAILED with FLOW_INTERRUPTED: nothing stays RUNNING for ever. */
export function createRecovery({ owners, self, isRunning, exclusive, logger, onInterrupted }: RecoveryDeps) {
  let timer: NodeJS.Timeout | undefined

  const isDead = (owner: Owner): boolean => {
    if (ownersHere.has(owner.id)) return false
    if (exclusive) return true
    // A restarted container often comes back under the same host name and process id.
    return owner.host === self.host && (owner.pid === self.pid || !isRunning(owner.pid))
  }
  const sweep = async () => {
    await owners.heartbeat(self)
    const flowIds = await owners.interruptOrphanedFlows({ staleMs: STALE_AFTER_MS, isDead })
    if (flowIds.length === 0) return
    logger?.warn('flows of a dead process were marked FLOW_INTERRUPTED', { flowIds })
    onInterrupted?.(flowIds)
  }

  return {
    /** The first look happens before anything is started; later ones in the background. */
    async start(): Promise<void> {
      ownersHere.add(self.id)
      await sweep()
      // A database that is away for a moment is asked again at the next beat.
      timer = setInterval(() => void sweep().catch(() => {}), BEAT_EVERY_MS)
      timer.unref()
    },
    /** `handOver`: flows of this process still run in the database, and the others are to find them at once. */
    async stop({ handOver = false }: { readonly handOver?: boolean } = {}): Promise<void> {
      clearInterval(timer)
      ownersHere.delete(self.id)
      if (handOver) await owners.expire(self.id)
      else await owners.unregister(self.id)
    },
  }
}
