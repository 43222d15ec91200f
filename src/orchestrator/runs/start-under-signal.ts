import { onAbort } from '../../async/on-abort.ts'
import { flowCancelled } from '../../domain/execution/flow-errors.ts'
import type { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ExecutionEnd } from './flow-runner.ts'

/**
 * Starts a flow that the caller's signal cancels. Rejects with FLOW_CANCELLED if the signal is already aborted.
 * `cancel` also gets the start, which may not be over.
 */
export async function startUnderSignal(
  flowId: string,
  start: () => Promise<{ readonly end: Promise<ExecutionEnd> }>,
  signal: AbortSignal | undefined,
  cancel: (reason: OrchestratorError, started: Promise<unknown>) => Promise<unknown>,
): Promise<{ readonly end: Promise<ExecutionEnd> }> {
  if (signal?.aborted) throw flowCancelled(flowId, 'The signal was aborted before the flow started')
  const starting = start()
  const unlink =
    signal &&
    // A cancellation that the database refuses has no caller; the flow then runs to its end.
    onAbort(signal, () => void cancel(flowCancelled(flowId, 'The caller aborted the flow'), starting).catch(() => {}))
  try {
    const { end } = await starting
    return { end: unlink ? end.finally(unlink) : end }
  } catch (error) {
    unlink?.()
    throw error
  }
}
