import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { FlowRepository } from '../../repositories/repository.ts'
import type { FlowExecution } from '../flow-run.ts'

const LOOK_EVERY_MS = 1_000
/** Flows looked at in one turn; with more than this the next turn goes on behind them. */
const FLOWS_PER_LOOK = 500

export interface OwnershipWatchDeps {
  /** Runs of this process. */
  readonly executions: () => Iterable<FlowExecution>
  readonly flows: Pick<FlowRepository, 'find'>
}

/**
 * Ends runs whose flow another process has taken, by cancelling it say: a call that takes minutes writes nothing in between, and would not
 * learn it sooner. Returns what stops the watch.
 */
export function startOwnershipWatch({ executions, flows }: OwnershipWatchDeps): () => void {
  let passed = 0

  const look = async () => {
    const all = [...executions()]
    if (passed >= all.length) passed = 0
    const turn = all.slice(passed, passed + FLOWS_PER_LOOK)
    passed += turn.length
    await Promise.all(
      turn.map(async (run) => {
        const flow = await flows.find(run.flowId)
        if (flow?.ownerEpoch === run.epoch) return
        run.cancellation.cancel(
          new OrchestratorError('FLOW_INTERRUPTED', 'Another process took the flow', { details: { flowId: run.flowId } }),
        )
      }),
    )
  }
  // A database that is away for a moment is asked again at the next turn.
  const timer = setInterval(() => void look().catch(() => {}), LOOK_EVERY_MS)
  timer.unref()
  return () => clearInterval(timer)
}
