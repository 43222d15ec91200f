import type { StartedCall } from '../../domain/tools/turns.ts'
import { hashOfWait, type StepWait, type StoredWait, waitKey } from '../../domain/waiting/wait.ts'
import { toolKey } from '../flow-run.ts'
import type { StepTask } from '../steps/step-inputs.ts'
import type { PauseControl } from '../waiting/pause-control.ts'
import type { StepTool } from './tool-set.ts'

/** One call of a tool, as far as it is addressed. */
export interface CallAddress {
  readonly turn: number
  readonly index: number
}

/** Address of a call at which a user decides: `<path>@<turn>.<call>`; of a sample, `<path>@<sample>.<turn>.<call>`. */
export const callPath = (path: string, sample: number, { turn, index }: CallAddress): string =>
  `${path}@${sample > 0 ? `${sample}.` : ''}${turn}.${index}`

/** Whether the process died during the call, so that its outcome is unknown and it must not be repeated unasked. */
export const mustAsk = (
  { run, path, iteration }: StepTask,
  sample: number,
  call: CallAddress,
  { operation }: StepTool,
): boolean => !operation.idempotent && run.prior.lostTools.has(toolKey({ path, iteration, sample }, call))

/** The question whether a call may be made. The decision counts for this tool with these arguments alone. */
export function toApproval(
  task: StepTask,
  sample: number,
  call: CallAddress,
  tool: StepTool,
  given: unknown,
  since: Date,
): StepWait {
  return toWait(task, sample, call, given, since, `The model calls ${tool.id}. Run it?`, tool.operation.input)
}

/** The question whether a call may be repeated whose outcome is unknown. */
export function toRepetition(task: StepTask, sample: number, started: StartedCall, tool: StepTool, since: Date): StepWait {
  const prompt = `The process died during call ${started.attempt} of ${tool.id}, which may have had its effect. Repeat it?`
  return toWait(task, sample, started, started.arguments, since, prompt)
}

function toWait(
  { run, path, iteration }: StepTask,
  sample: number,
  call: CallAddress,
  given: unknown,
  since: Date,
  prompt: string,
  schema?: StepWait['schema'],
): StepWait {
  const asked = {
    path: callPath(path, sample, call),
    iteration,
    kind: 'tool',
    prompt,
    show: JSON.stringify(given, undefined, 2),
    ...(schema && { schema }),
  } as const
  return { flowId: run.flowId, threadId: run.threadId, ...asked, hash: hashOfWait(asked), since }
}

/** The stored state of a wait, if it asks the same. */
export function storedWait(control: PauseControl, wait: StepWait): StoredWait | undefined {
  const stored = control.stored.get(waitKey(wait))
  return stored?.hash === wait.hash ? stored : undefined
}

/** Resolves with the decision about a call, at once if there is one. The flow pauses meanwhile if nothing else runs. */
export function awaitDecision({ run, options }: StepTask, control: PauseControl, wait: StepWait): Promise<StoredWait> {
  const stored = storedWait(control, wait)
  if (stored?.decision) return Promise.resolve(stored)
  return control.waitFor(stored ?? wait, [run.cancellation, options.cancellation])
}
