import { versionUnknown } from '../../domain/execution/flow-errors.ts'
import type { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Store, StoredFlow } from '../../repositories/repository.ts'
import { keyOptions } from '../runs/queued-options.ts'
import type { LiveUpdates } from '../updates/live-updates.ts'
import type { OwnershipWatch } from './ownership-watch.ts'
import { settleUndriven } from './settle-undriven.ts'

export interface CancelStoredDeps {
  readonly store: Store
  /** If this process dies between the claim and the outcome, the flow counts as interrupted. */
  readonly ownerId: string
  readonly live: Pick<LiveUpdates, 'ended'>
  readonly ownershipWatch: Pick<OwnershipWatch, 'publishTaken'>
  readonly now: () => Date
}

/**
 * Ends a flow that this process does not run, by claiming it from its owner, whose writes are then refused, and which
 * is notified so that it aborts its calls. A settled flow stays as it is.
 */
export async function cancelStored(
  { store, ownerId, live, ownershipWatch, now }: CancelStoredDeps,
  flow: StoredFlow,
  reason: OrchestratorError,
): Promise<void> {
  const claimed = await store.journal.claim({
    flowId: flow.id,
    from: ['PENDING', 'PAUSED', 'RUNNING'],
    ownerId,
    startedAt: flow.startedAt ?? now(),
    runOptions: keyOptions(flow.runOptions),
  })
  if (!('epoch' in claimed)) {
    if (claimed.newerVersion !== undefined) throw versionUnknown(flow.id, claimed.newerVersion)
    return
  }
  await settleUndriven({ store, now }, { flowId: flow.id, epoch: claimed.epoch }, reason, flow.simulated)
  // After the outcome is stored: the owner reads it to report the flow as cancelled.
  ownershipWatch.publishTaken([flow.id])
  live.ended(flow.id)
}
