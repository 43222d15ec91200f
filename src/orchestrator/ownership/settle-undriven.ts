import type { FlowJob } from '../../engines/engine.ts'
import type { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Store, StoredFlow } from '../../repositories/repository.ts'

export interface SettleUndrivenDeps {
  readonly store: Pick<Store, 'journal' | 'updates'>
  readonly now: () => Date
}

/**
 * Ends a flow that is claimed and that no execution drives: stores its outcome, and the update that ends its streams.
 * Without it the flow would count as running for as long as its owner lives.
 */
export async function settleUndriven(
  { store, now }: SettleUndrivenDeps,
  { flowId, epoch }: FlowJob,
  error: OrchestratorError,
  simulated: StoredFlow['simulated'],
): Promise<void> {
  const cancelled = error.code === 'FLOW_CANCELLED'
  const seq = (await store.updates.lastSeq(flowId)) + 1
  const timestamp = now()
  const update = cancelled
    ? { seq, timestamp, type: 'flow_cancelled' as const, data: { reason: error.message } }
    : { seq, timestamp, type: 'error' as const, data: error.toJSON() }
  const status = cancelled ? ('CANCELLED' as const) : ('FAILED' as const)
  const outcome = { status, completedAt: timestamp, error: error.toJSON(), simulated }
  await store.journal.finish({ flowId, epoch, updates: [update], outcome })
}
