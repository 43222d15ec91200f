import { versionUnknown } from '../../domain/execution/flow-errors.ts'
import type { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Store, StoredFlow } from '../../repositories/repository.ts'
import type { LiveUpdates } from '../updates/live-updates.ts'
import type { OwnershipWatch } from './ownership-watch.ts'
import { settleUndriven } from './settle-undriven.ts'

/**
 * An owner id that belongs to no process. A claim under it raises the epoch, so writes of the previous owner are
 * refused.
 */
const CANCELLER = 'cancel'

export interface CancelStoredDeps {
  readonly store: Store
  readonly live: Pick<LiveUpdates, 'ended'>
  readonly ownershipWatch: Pick<OwnershipWatch, 'publishTaken'>
  readonly now: () => Date
}

/**
 * Ends a flow that this process does not run, by claiming it from its owner, which is then notified so that it aborts
 * its calls. A settled flow stays as it is.
 */
export async function cancelStored(
  { store, live, ownershipWatch, now }: CancelStoredDeps,
  flow: StoredFlow,
  reason: OrchestratorError,
): Promise<void> {
  const claimed = await store.journal.claim({
    flowId: flow.id,
    from: ['PENDING', 'PAUSED', 'RUNNING'],
    ownerId: CANCELLER,
    startedAt: flow.startedAt ?? now(),
    input: flow.input ?? '',
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
