import { untilCancelled } from '../../async/until-cancelled.ts'
import type { CallEstimate, EstimateCall, PreparedRequest } from '../../calls/call.ts'
import { type CallIntent, idempotencyKeyOf, OUTCOME_UNKNOWN, toLostAttempt } from '../../domain/execution/call-intent.ts'
import { isRunStep } from '../../domain/tools/tool-fields.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { recordKey } from '../flow-run.ts'
import type { StepTask } from './step-inputs.ts'
import { nextAttemptNumber, type StepOutcomeDraft, toResult, toStored } from './step-record.ts'

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
 * Waits until the results so far and the start of this step are durable, so that after a crash no step is paid for
 * twice and the call in flight is known. The first steps of a flow do not wait: if a crash leaves it without any result
 * and intent, it was running them. Operations always wait.
 */
export async function settleBefore({ run, step, options }: StepTask): Promise<void> {
  const isFirst =
    run.epoch === 1 && run.prior.results.length === 0 && run.progress.results.every((result) => result === undefined)
  // A call with an effect outside must leave a trace first.
  if (!isFirst || isRunStep(step)) run.log.flush()
  if (run.log.durable) await untilCancelled(run.log.durable, [run.cancellation, options.cancellation])
  if (run.cancellation.cancelled) throw run.cancellation.reason
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
  // A copy, because the attempt that is announced is added to the draft later.
  const attempts = [...draft.attempts]
  const soFar = toResult(task, { ...draft, attempts, error: undefined }, deps.now(), sample)
  const intent = toIntent(deps, task, sample, draft, request, deps.estimate(request))
  log.record([toStored(task.step, { ...soFar, status: 'RUNNING' })], { intents: [intent] })
  if (log.durable) await untilCancelled(log.durable, [cancellation, task.options.cancellation])
}

/** Stores the intent of the first attempt of a further turn. Resolves when everything before it is durable. */
export async function announceTurn(
  deps: CallIntentsDeps,
  task: StepTask,
  sample: number,
  draft: StepOutcomeDraft,
  request: PreparedRequest,
): Promise<void> {
  const { log, cancellation } = task.run
  log.intend(toIntent(deps, task, sample, draft, request, deps.estimate(request)))
  log.flush()
  if (log.durable) await untilCancelled(log.durable, [cancellation, task.options.cancellation])
}

/**
 * Applies `onUnknown` to a call that a crash interrupted, and adds its attempt where the crash left no trace of it.
 * Throws CALL_OUTCOME_UNKNOWN if the step must not repeat the call. `request` is absent for a pool, whose calls always
 * leave a trace: their intents are awaited.
 */
export async function settleLost(
  deps: CallIntentsDeps,
  task: StepTask,
  sample: number,
  draft: StepOutcomeDraft,
  request: PreparedRequest | undefined,
): Promise<void> {
  const { run, step, path, iteration } = task
  const { lost, untraced } = run.prior
  const key = recordKey(path, iteration, sample)
  const isUntraced = request !== undefined && untraced.has(key)
  if (!isUntraced && !lost.has(key)) return
  if (isUntraced) {
    const estimate = deps.estimate(request)
    const intent = toIntent(deps, task, sample, draft, request, estimate)
    draft.attempts.push(toLostAttempt({ ...intent, cost: await estimate.costUsd }))
    run.log.record([toResult(task, { ...draft, error: unknownOutcome(step.id) }, deps.now(), sample)])
  }
  if (step.onUnknown === 'fail' || task.mayRepeat === false) throw unknownOutcome(step.id)
}

export const unknownOutcome = (stepId: string): OrchestratorError =>
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
  { provider, model, origin }: PreparedRequest,
  { inputTokens, outputTokens, costUsd, simulated }: CallEstimate,
): CallIntent {
  const number = nextAttemptNumber(draft)
  return {
    path,
    iteration,
    sample,
    number,
    idempotencyKey: origin?.idempotencyKey ?? idempotencyKeyOf(run.flowId, { path, iteration, sample }, number),
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
