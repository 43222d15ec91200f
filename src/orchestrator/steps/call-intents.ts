import { untilCancelled } from '../../async/until-cancelled.ts'
import type { CallEstimate, EstimateCall, PreparedRequest } from '../../calls/call.ts'
import { type CallIntent, idempotencyKeyOf, OUTCOME_UNKNOWN, toLostAttempt } from '../../domain/execution/call-intent.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { recordKey } from '../flow-run.ts'
import type { StepTask } from './step-inputs.ts'
import { type StepOutcomeDraft, toResult, toStored } from './step-record.ts'

export interface CallIntentsDeps {
  /** Implemented by createCallEstimate. */
  readonly estimate: EstimateCall
  readonly now: () => Date
}

/** Adds the intent of the first attempt to the next write of the flow, for which the step runner waits. */
export function announceFirst(
  deps: CallIntentsDeps,
  task: StepTask,
  sample: number,
  draft: StepOutcomeDraft,
  request: PreparedRequest,
): void {
  task.run.log.intend(toIntent(deps, task, sample, draft, request, deps.estimate(request)))
}

/**
 * Stores the attempts so far, with an answer that was already received, together with the intent of the next attempt.
 * Resolves when they are durable.
 */
export async function announceNext(
  deps: CallIntentsDeps,
  task: StepTask,
  sample: number,
  draft: StepOutcomeDraft,
  request: PreparedRequest,
): Promise<void> {
  const { log, cancellation } = task.run
  const soFar = toResult(task, { ...draft, error: undefined }, deps.now(), sample)
  const intent = toIntent(deps, task, sample, draft, request, deps.estimate(request))
  log.record([toStored(task.step, { ...soFar, status: 'RUNNING' })], undefined, [intent])
  if (log.durable) await untilCancelled(log.durable, [cancellation, task.options.cancellation])
}

/**
 * Applies `onUnknown` to a call that a crash interrupted, and adds its attempt where the crash left no trace of it.
 * Throws CALL_OUTCOME_UNKNOWN if the step must not repeat the call.
 */
export async function settleLost(
  deps: CallIntentsDeps,
  task: StepTask,
  sample: number,
  draft: StepOutcomeDraft,
  request: PreparedRequest,
): Promise<void> {
  const { run, step, path, iteration } = task
  const { lost, untraced } = run.prior
  const key = recordKey(path, iteration, sample)
  const isUntraced = untraced.has(key)
  if (!isUntraced && !lost.has(key)) return
  if (isUntraced) {
    const estimate = deps.estimate(request)
    const intent = toIntent(deps, task, sample, draft, request, estimate)
    draft.attempts.push(toLostAttempt({ ...intent, cost: await estimate.costUsd }))
    run.log.record([toResult(task, { ...draft, error: unknownOutcome(step.id) }, deps.now(), sample)])
  }
  if (step.onUnknown === 'fail' || task.mayRepeat === false) throw unknownOutcome(step.id)
}

const unknownOutcome = (stepId: string): OrchestratorError =>
  new OrchestratorError(
    OUTCOME_UNKNOWN.code,
    `Expected a recorded outcome of the call of step "${stepId}"; the process died during it, and it must not be repeated`,
    { details: { stepId } },
  )

function toIntent(
  deps: CallIntentsDeps,
  { run, path, iteration }: StepTask,
  sample: number,
  draft: StepOutcomeDraft,
  { provider, model }: PreparedRequest,
  { inputTokens, outputTokens, costUsd, simulated }: CallEstimate,
): CallIntent {
  const number = draft.attempts.length + 1
  return {
    path,
    iteration,
    sample,
    number,
    idempotencyKey: idempotencyKeyOf(run.flowId, { path, iteration, sample }, number),
    provider,
    model,
    startedAt: deps.now(),
    inputTokens,
    outputTokens,
    // A request does not wait for the price list, which is loaded at the first use of a process.
    cost: costUsd instanceof Promise ? undefined : costUsd,
    simulated,
  }
}
