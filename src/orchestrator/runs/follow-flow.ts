import { callListener } from '../../async/call-listener.ts'
import { onAbort } from '../../async/on-abort.ts'
import { flowCancelled, flowNotFound } from '../../domain/execution/flow-errors.ts'
import type { FlowExecutionResult } from '../../domain/execution/flow-result.ts'
import type { FlowUpdate } from '../../domain/execution/flow-update.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { LiveUpdates } from '../updates/live-updates.ts'

export interface FollowFlowDeps {
  readonly live: Pick<LiveUpdates, 'stream'>
  readonly isSettled: (flowId: string) => Promise<boolean>
  /** Cancels the flow wherever it runs. */
  readonly cancel: (flowId: string, reason: OrchestratorError) => Promise<unknown>
}

export interface FollowFlowOptions {
  /** Number of the last update that the caller has received. */
  readonly afterSeq: number
  readonly onUpdate?: (update: FlowUpdate) => unknown
  /** Cancels the flow. */
  readonly signal?: AbortSignal
}

/**
 * Waits for the end of a flow from its updates, wherever it runs and however often it is paused. Resolves and rejects as
 * an execution in this process does.
 */
export async function followFlow(
  deps: FollowFlowDeps,
  flowId: string,
  { afterSeq, onUpdate, signal }: FollowFlowOptions,
): Promise<FlowExecutionResult> {
  const abort = () => void deps.cancel(flowId, flowCancelled(flowId, 'The caller aborted the flow')).catch(() => {})
  const unlink = signal && onAbort(signal, abort)
  let last: FlowUpdate | undefined
  try {
    if (signal?.aborted) abort()
    for await (const update of deps.live.stream(flowId, { afterSeq, isSettled: () => deps.isSettled(flowId) })) {
      if (onUpdate) callListener(() => onUpdate(update))
      last = update
    }
  } finally {
    unlink?.()
  }
  if (last?.type === 'flow_complete') return last.data
  if (last?.type === 'flow_cancelled') throw flowCancelled(flowId, last.data.reason)
  if (last?.type !== 'error') throw flowNotFound(flowId)
  const { code, message, details, retryable } = last.data
  throw new OrchestratorError(code, message, { details, retryable })
}
