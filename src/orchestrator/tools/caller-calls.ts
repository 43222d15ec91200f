import { toCallerCallId } from '../../domain/tools/caller-call-id.ts'
import { PROMPT_ONLY } from '../../domain/users/origins.ts'
import { asksSame, hashOfWait, type StepWait, type StoredWait, waitKey } from '../../domain/waiting/wait.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { StepTask } from '../steps/step-inputs.ts'
import type { PlannedCall } from './planned-call.ts'
import { awaitDecision, callPath } from './tool-approval.ts'
import { DEFAULT_RESULT_TOKENS, fitOutput } from './tool-output.ts'
import type { StepTool } from './tool-set.ts'
import type { ToolStep } from './tool-step.ts'
import { addResult } from './tool-updates.ts'

export interface CallerCallsDeps {
  readonly defaults: {
    /** Milliseconds that a flow waits for the result of a caller tool. */
    readonly callerToolMs: number
  }
  readonly now: () => Date
}

/**
 * What the flow waits for at a call of a caller tool. The name of the tool is its event and the id of the call its
 * correlation, so that an event with both is an answer, too.
 */
export function toCallerWait(
  { defaults, now }: CallerCallsDeps,
  task: StepTask,
  sample: number,
  call: PlannedCall,
  tool: StepTool,
): StepWait {
  const { run, iteration } = task
  const path = callPath(task.path, sample, call)
  const asked = {
    path,
    iteration,
    kind: 'caller',
    prompt: `The model calls your tool ${tool.operation.name}. Send its result as data.`,
    show: JSON.stringify(call.given, undefined, 2),
    event: tool.operation.name,
    correlation: toCallerCallId(run.flowId, path, iteration),
  } as const
  const since = now()
  const stored = run.pause?.stored.get(waitKey(asked))
  const same = stored && asksSame(stored, asked) ? stored : undefined
  if (same && !isAskedAnew(task, same)) return same
  const hash = hashOfWait(asked, same?.hash)
  const deadline = new Date(since.getTime() + defaults.callerToolMs)
  return { flowId: run.flowId, threadId: run.threadId, ...asked, hash, since, deadline }
}

/** A step that failed because the time of this wait was over waits again when the flow is executed again. */
const isAskedAnew = ({ run, path, iteration }: StepTask, { decision, deadline }: StoredWait): boolean =>
  decision?.timedOut === true &&
  deadline !== undefined &&
  run.prior.results.some((result) => {
    const isOfStep = result.path === path && result.iteration === iteration
    return isOfStep && result.error?.code === EXPIRED && result.completedAt >= deadline
  })

const EXPIRED = 'APPROVAL_EXPIRED'

/**
 * Waits for the result of a call, and records it. Its text is that of the user who runs the flow, as the prompt is, so
 * no data-sharing policy applies. Rejects with APPROVAL_EXPIRED when no result comes in time.
 */
export async function awaitCaller(step: ToolStep, planned: PlannedCall, tool: StepTool, wait: StepWait): Promise<void> {
  const { task } = step
  const { pause } = task.run
  // The loop refuses such steps before their first call where the run cannot pause.
  if (!pause) throw new OrchestratorError('INTERNAL', `Tool ${tool.id} is answered by the caller in a run that cannot pause`)
  const { decision, decidedAt } = await awaitDecision(task, pause, wait)
  if (!decision || decision.timedOut) throw expired(task, tool, wait)
  const { data } = decision
  const given = typeof data === 'string' ? data : JSON.stringify(data ?? null)
  const { text: content, cut } = await fitOutput(given, task.step.maxResultTokens ?? DEFAULT_RESULT_TOKENS, step.countTokens)
  const executionTime = Math.max(0, (decidedAt ?? wait.since).getTime() - wait.since.getTime())
  addResult(step, planned, { content, isError: false, executionTime, sharing: [], origins: PROMPT_ONLY, ...(cut && { cut }) }, [])
}

function expired({ run, step, iteration }: StepTask, tool: StepTool, { deadline, correlation }: StepWait): OrchestratorError {
  const message = `Nobody sent the result of ${tool.id}, which step "${step.id}" called, before ${deadline?.toISOString()}`
  const details = { flowId: run.flowId, stepId: step.id, iteration, tool: tool.id, callId: correlation }
  return new OrchestratorError(EXPIRED, message, { details })
}
