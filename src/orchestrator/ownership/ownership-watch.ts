import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { FlowRepository } from '../../repositories/repository.ts'
import type { FlowExecution } from '../flow-run.ts'

const CHECK_INTERVAL_MS = 1_000
/** Maximum number of flows per check; the next check continues with the others. */
const FLOWS_PER_CHECK = 500

export interface OwnershipWatchDeps {
  /** Open executions of this process. Implemented by createRunRegistry. */
  readonly executions: () => Iterable<FlowExecution>
  readonly flows: Pick<FlowRepository, 'find'>
}

/**
 * Ends executions whose flow another process has claimed, for example to cancel it. Writes of such an execution are
 * refused, but a call of several minutes writes nothing in between. Returns the function that stops the watch.
 */
export function startOwnershipWatch({ executions, flows }: OwnershipWatchDeps): () => void {
  let checked = 0

  const check = async () => {
    const all = [...executions()]
    if (checked >= all.length) checked = 0
    const batch = all.slice(checked, checked + FLOWS_PER_CHECK)
    checked += batch.length
    await Promise.all(
      batch.map(async (run) => {
        const flow = await flows.find(run.flowId)
        if (flow?.ownerEpoch === run.epoch) return
        run.cancellation.cancel(
          new OrchestratorError('FLOW_INTERRUPTED', 'Another process took the flow', { details: { flowId: run.flowId } }),
        )
      }),
    )
  }
  // An unreachable database is queried again at the next interval.
  const timer = setInterval(() => void check().catch(() => {}), CHECK_INTERVAL_MS)
  timer.unref()
  return () => clearInterval(timer)
}
