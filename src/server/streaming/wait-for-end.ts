import type { FlowStatusReport } from '../../domain/execution/flow.ts'
import type { FlowUpdate } from '../../domain/execution/flow-update.ts'
import { SETTLED } from '../../domain/vocabulary.ts'
import type { ServerDeps } from '../server-deps.ts'

export interface Wait {
  readonly flowId: string
  readonly userId: string
  readonly waitMs: number
  /** The client went away, or the server is to close: nobody waits any more. The flow goes on. */
  readonly gone: AbortSignal
  /** Gets the updates of the flow, from its first, one after the other. */
  readonly onUpdate?: (update: FlowUpdate) => Promise<void>
}

/**
 * Waits for the end of a flow, whichever process runs it. Resolves with the status where it has ended, with `undefined` where the time was over
 * or the client left.
 */
export async function waitForEnd(
  { orchestrator }: Pick<ServerDeps, 'orchestrator'>,
  { flowId, userId, waitMs, gone, onUpdate }: Wait,
): Promise<FlowStatusReport | undefined> {
  const signal = AbortSignal.any([gone, AbortSignal.timeout(waitMs)])
  for await (const update of orchestrator.streamFlow(flowId, userId, { signal })) {
    if (signal.aborted) break
    await onUpdate?.(update)
  }
  const status = await orchestrator.getFlowStatus(flowId, userId)
  return SETTLED.includes(status.status) || status.status === 'PAUSED' ? status : undefined
}
