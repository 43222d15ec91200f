import type { FlowUpdateType } from '../../../domain/execution/flow-update.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { waitForEnd } from '../../streaming/wait-for-end.ts'
import type { ToolInvocation } from './tool.ts'

/** Milliseconds that follow_flow waits where nothing else is asked for: most clients give a call a minute. */
export const USUAL_WAIT_MS = 45_000

const TOLD: { readonly [Type in FlowUpdateType]?: string } = {
  step_start: 'started',
  step_complete: 'ended',
  step_skipped: 'was skipped',
  step_retry: 'is tried again',
}

/**
 * Waits until the flow has ended, the time is over, or nobody is to wait any more, and tells how far the flow is. Never ends the flow. Rejects with
 * UNAUTHENTICATED where the caller is none any more.
 */
export async function waitForFlow(call: ToolInvocation, flowId: string, waitMs: number, sinceMs = Date.now()): Promise<void> {
  const { deps, caller, gone, enough, report } = call
  const { orchestrator } = deps
  const tell = async (what?: string) => {
    if (!report) return
    const { progress, status } = await orchestrator.getFlowStatus(flowId, caller.userId)
    // Only the end is 100, also where the flow is further than what is told of it.
    if (what === undefined) report(progress, `The flow is ${status}`)
    else report(Math.min(progress, 99), what)
  }
  await tell()
  const ended = await waitForEnd(deps, {
    flowId,
    userId: caller.userId,
    waitMs: Math.min(waitMs, deps.config.server.maxWaitMs),
    gone: AbortSignal.any([gone, enough]),
    onUpdate: async ({ type, stepId, iteration = 1, timestamp }) => {
      const what = TOLD[type]
      // What happened before is in the first number.
      if (what !== undefined && timestamp.getTime() >= sinceMs)
        await tell(`Step "${stepId}"${iteration > 1 ? ` #${iteration}` : ''} ${what}`)
    },
  })
  if (!(await call.isCurrent())) throw new OrchestratorError('UNAUTHENTICATED', 'Not authenticated any more')
  if (ended) report?.(ended.progress, `The flow is ${ended.status}`)
}
