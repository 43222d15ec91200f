import { onAbort } from '../../async/on-abort.ts'
import { flowCancelled } from '../../domain/execution/flow-errors.ts'
import type { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ExecutionEnd } from './flow-runner.ts'

/** Starts a flow that the caller's signal cancels. Rejects with FLOW_CANCELLED if the signal is already aborted. */
export async function startUnderSignal(
  flowId: string,
  start: () => Promise<{ readonly end: Promise<ExecutionEnd> }>,
  signal: AbortSignal | undefined,
  cancel: (reason: OrchestratorError) => Promise<unknown>,
): Promise<{ readonly end: Promise<ExecutionEnd> }> {
  if (signal?.aborted) throw flowCancelled(flowId, 'The signal was aborted before the flow started')
  const unlink =
    signal &&
    // A cancellation that the database refuses has no caller; the flow then runs to its end.
    onAbort(signal, () => void cancel(flowCancelled(flowId, 'The caller aborted the flow')).catch(() => {}))
  try {
    const { end } = await start()
    return { end: unlink ? end.finally(unlink) : end }
  } catch (error) {
    unlink?.()
    throw error
  }
}
