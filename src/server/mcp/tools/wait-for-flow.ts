import type { FlowUpdateType } from '../../../domain/execution/flow-update.ts'
import { authenticationEnded } from '../../access/caller.ts'
import { waitForEnd } from '../../streaming/wait-for-end.ts'
import type { ToolInvocation } from './tool.ts'

/** Milliseconds that follow_flow waits by default: most clients abort a call after a minute. */
export const DEFAULT_WAIT_MS = 45_000

/** Updates that the client is notified of, as words after the name of the step. */
const REPORTED: { readonly [Type in FlowUpdateType]?: string } = {
  step_start: 'started',
  step_complete: 'ended',
  step_skipped: 'was skipped',
  step_retry: 'is retried',
  tool_call: 'calls a tool',
}

/**
 * Waits until the flow has ended, the time is over, the client has gone or the call must respond immediately. Reports
 * the progress of the flow meanwhile, and never ends it. `sinceMs`: updates before this time are not reported one by
 * one. Rejects with UNAUTHENTICATED when the caller's key is no longer valid.
 */
export async function waitForFlow(call: ToolInvocation, flowId: string, waitMs: number, sinceMs = Date.now()): Promise<void> {
  const { deps, caller, clientGone, respondNow, report } = call
  const { orchestrator } = deps
  const reportProgress = async (event?: string) => {
    if (!report) return
    const { progress, status } = await orchestrator.getFlowStatus(flowId, caller.userId)
    // Only the end is 100: the flow may be further than the update that is being reported.
    if (event === undefined) report(progress, `The flow is ${status}`)
    else report(Math.min(progress, 99), event)
  }
  await reportProgress()
  const ended = await waitForEnd(deps, {
    flowId,
    userId: caller.userId,
    waitMs: Math.min(waitMs, deps.config.server.maxWaitMs),
    signal: AbortSignal.any([clientGone, respondNow]),
    onUpdate: async ({ type, stepId, iteration = 1, timestamp }) => {
      const event = REPORTED[type]
      if (event !== undefined && timestamp.getTime() >= sinceMs)
        await reportProgress(`Step "${stepId}"${iteration > 1 ? ` #${iteration}` : ''} ${event}`)
    },
  })
  if (!(await call.isCurrent())) throw authenticationEnded()
  if (ended) report?.(ended.progress, `The flow is ${ended.status}`)
}
