import type { Engine } from '../engines/engine.ts'
import type { NotificationBus } from '../notifications/notification.ts'
import type { OrchestratorService } from '../orchestrator/orchestrator-service.ts'
import type { OwnershipWatch } from '../orchestrator/ownership/ownership-watch.ts'
import { createRecovery } from '../orchestrator/ownership/recovery.ts'
import { createResumption, type ResumptionDeps } from '../orchestrator/ownership/resumption.ts'
import type { RunRegistry } from '../orchestrator/runs/run-registry.ts'
import type { Owner, Store } from '../repositories/repository.ts'
import { isProcessRunning } from '../system/processes.ts'

export interface CreateOwnershipDeps {
  readonly store: Store
  readonly bus: NotificationBus
  readonly owner: Owner
  readonly registry: Pick<RunRegistry, 'find'>
  /** If given, flows of dead processes are put back into the queue for this engine. */
  readonly distributedEngine: Pick<Engine, 'recheckQueue'> | undefined
  readonly watch: OwnershipWatch
  /** Implemented by LiveUpdates.ended. */
  readonly onEnded: (flowId: string) => void
  readonly orchestrator: Pick<OrchestratorService, 'startFlow'>
  /** Ids of webhooks to which errors of flows are delivered. */
  readonly deliverTo: readonly string[]
  readonly logger: ResumptionDeps['logger']
}

/**
 * Builds everything that decides which process owns which flow: heartbeat, recovery and resumption of flows of dead
 * processes, and the watch for flows that another process has taken.
 */
export function createOwnership(deps: CreateOwnershipDeps) {
  const { store, bus, owner, registry, distributedEngine, watch, onEnded, orchestrator, deliverTo, logger } = deps
  const { flows, owners, kind } = store
  const resumption = createResumption({
    flows,
    start: async (flowId, userId, options) => {
      await orchestrator.startFlow(flowId, userId, { ...options, resumeAfterCrash: true })
      return { ended: registry.find(flowId)?.done ?? Promise.resolve() }
    },
    logger,
  })
  const recovery = createRecovery({
    owners,
    bus,
    self: owner,
    isRunning: isProcessRunning,
    logger,
    deliverTo,
    exclusive: kind !== 'postgres',
    onInterrupted: (flowIds) => {
      for (const flowId of flowIds) onEnded(flowId)
      // A process that was only frozen, and not dead, stops its calls.
      watch.publishTaken(flowIds)
      resumption.interrupted(flowIds)
    },
    ...(distributedEngine && {
      requeue: store.queue.requeueOrphans,
      onRequeued: (flowIds) => {
        watch.publishTaken(flowIds)
        distributedEngine.recheckQueue()
      },
    }),
  })

  return {
    resumption,
    /** From then on this process continues interrupted flows of others. */
    async resumeInterrupted(): Promise<void> {
      // A distributed engine puts flows that are handed over back into its queue itself.
      if (kind === 'postgres' && !distributedEngine) recovery.awaitLeaving()
      await resumption.start()
    },
    /**
     * Marks the flows of dead processes, and keeps this process registered from then on. A memory store has no other
     * owners.
     */
    async start(): Promise<void> {
      if (kind !== 'memory') await recovery.start()
      // Another process can take a flow only if the database is shared.
      if (kind === 'postgres') watch.start()
    },
    stopWatch: watch.stop,
    /** With `handOver` the flows of this process stay RUNNING, for other processes to find at once. */
    async unregister(options: { readonly handOver: boolean }): Promise<void> {
      if (kind !== 'memory') await recovery.stop(options)
    },
  }
}

export type Ownership = ReturnType<typeof createOwnership>
