import { isPool } from '../../domain/definition/call/pools.ts'
import { isRunStep } from '../../domain/tools/tool-fields.ts'
import { hashOfWait, type StepWait, waitKey } from '../../domain/waiting/wait.ts'
import { type FindOperations, findOperation } from '../operations/find-operation.ts'
import type { StepTask } from '../steps/step-inputs.ts'
import type { PauseControl } from './pause-control.ts'

export interface ConfirmRepeatDeps {
  /** Implemented by createModels. */
  readonly operationsOf: FindOperations
  readonly now: () => Date
}

/**
 * Asks whether a call whose outcome is unknown may be repeated, if the step says `onUnknown: 'ask'`, which is the
 * default for operations that are not idempotent. Resolves with the decision; undefined if nothing is asked: no call of
 * the step was lost, the step does not ask, or the run cannot pause because it runs this step alone, whose user has
 * asked for the call. The flow pauses meanwhile, as for an approval. A decision counts for the calls that were lost
 * when it was made: after another crash the step asks again.
 */
export function confirmRepeat(task: StepTask, { operationsOf, now }: ConfirmRepeatDeps): Promise<boolean> | undefined {
  const { run, step } = task
  const { pause } = run
  if (!pause || !hasLostCall(task)) return undefined
  if (step.onUnknown === 'ask') return ask(task, pause, now)
  if (step.onUnknown !== undefined || !isRunStep(step)) return undefined
  // A pool has idempotent operations only.
  if (isPool(step)) return undefined
  return findOperation(operationsOf, step).then(({ idempotent }) => idempotent || ask(task, pause, now))
}

function ask(task: StepTask, pause: PauseControl, now: () => Date): Promise<boolean> {
  const { run, path, iteration, options } = task
  const wait = toQuestion(task, now())
  const stored = pause.stored.get(waitKey({ path, iteration }))
  const known = stored?.hash === wait.hash ? stored : undefined
  if (known?.decision) return Promise.resolve(known.decision.approved === true)
  return pause
    .waitFor(known ?? wait, [run.cancellation, options.cancellation])
    .then(({ decision }) => decision?.approved === true)
}

/** First part of the keys of all calls of a step in one iteration. */
const callsOf = ({ path, iteration }: StepTask): string => `${path}#${iteration}.`

function hasLostCall(task: StepTask): boolean {
  const { lost, untraced } = task.run.prior
  const calls = callsOf(task)
  return [...lost, ...untraced].some((key) => key.startsWith(calls))
}

function toQuestion(task: StepTask, since: Date): StepWait {
  const { run, step, path, iteration } = task
  const calls = callsOf(task)
  const attempts = [...run.prior.attempts].flatMap(([key, made]) => (key.startsWith(calls) ? made : []))
  const asked = {
    path,
    iteration,
    kind: 'approve',
    prompt: `The process died during a call of step "${step.id}" to ${step.provider}/${step.model}, which may have been billed. Repeat it?`,
    // Part of what is decided about: a call that is lost later needs a decision of its own.
    show: `${attempts.length} attempts so far`,
  } as const
  return { flowId: run.flowId, threadId: run.threadId, ...asked, hash: hashOfWait(asked), since }
}
