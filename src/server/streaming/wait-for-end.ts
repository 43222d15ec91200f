import type { FlowStatusReport } from '../../domain/execution/flow.ts'
import type { FlowUpdate } from '../../domain/execution/flow-update.ts'
import { SETTLED } from '../../domain/vocabulary.ts'
import { needsSomebody } from '../../domain/waiting/waiting-steps.ts'
import type { ServerDeps } from '../server-deps.ts'

export interface WaitForEndOptions {
  readonly flowId: string
  readonly userId: string
  readonly waitMs: number
  /** Ends the wait; the flow continues. */
  readonly signal: AbortSignal
  /** Receives the updates of the flow from its first one on. The next update waits until the promise has settled. */
  readonly onUpdate?: (update: FlowUpdate) => Promise<void>
}

/**
 * Waits for the end of a flow, whichever process runs it. Resolves with the status of a flow that has ended, or that is
 * paused until somebody decides or sends an event; a pause until an instant is part of the wait. Resolves with
 * `undefined` when the time is over or the signal was aborted. Rejects with FLOW_NOT_FOUND.
 */
export async function waitForEnd(
  { orchestrator }: Pick<ServerDeps, 'orchestrator'>,
  { flowId, userId, waitMs, signal, onUpdate }: WaitForEndOptions,
): Promise<FlowStatusReport | undefined> {
  const end = AbortSignal.any([signal, AbortSignal.timeout(waitMs)])
  for await (const update of orchestrator.streamFlow(flowId, userId, { signal: end })) {
    if (end.aborted) break
    await onUpdate?.(update)
    if (update.type !== 'flow_paused' || !update.data.waits.some(needsSomebody)) continue
    // The update may belong to an earlier pause.
    const current = await orchestrator.getFlowStatus(flowId, userId)
    if (current.status === 'PAUSED') return current
  }
  const status = await orchestrator.getFlowStatus(flowId, userId)
  return SETTLED.includes(status.status) ? status : undefined
}
