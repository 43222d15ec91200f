import { onAbort } from '../../async/on-abort.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { FlowExecutions } from './flow-executions.ts'
import type { ExecutionEnd } from './flow-runner.ts'

type Start = Parameters<FlowExecutions['start']>[0]

/** Starts a flow that the caller's signal cancels. Rejects with FLOW_CANCELLED where the signal was aborted before. */
export async function startUnderSignal(
  executions: FlowExecutions,
  start: Start,
  signal: AbortSignal | undefined,
): Promise<{ readonly end: Promise<ExecutionEnd> }> {
  const flowId = start.flow.id
  const cancelled = (message: string) => new OrchestratorError('FLOW_CANCELLED', message, { details: { flowId } })
  if (signal?.aborted) throw cancelled('The signal was aborted before the flow started')
  const unlink = signal && onAbort(signal, () => void executions.cancel(flowId, cancelled('The caller aborted the flow')))
  try {
    const { end } = await executions.start(start)
    return { end: unlink ? end.finally(unlink) : end }
  } catch (error) {
    unlink?.()
    throw error
  }
}
