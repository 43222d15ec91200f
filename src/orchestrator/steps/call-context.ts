import type { CallContext } from '../../calls/call.ts'
import type { Attempt } from '../../domain/execution/step-result.ts'
import { announceNext, type CallIntentsDeps } from './call-intents.ts'
import { observeCalls } from './observe-calls.ts'
import type { StepTask } from './step-inputs.ts'
import type { StepOutcomeDraft } from './step-record.ts'

/** Limits of a call whose step states none. */
export interface CallDefaults {
  /** Attempts beyond the first, per target. */
  readonly maxRetries: number
  readonly timeoutMs: number
  readonly firstChunkTimeoutMs: number
  readonly idleTimeoutMs: number
}

export interface CallContextDeps extends CallIntentsDeps {
  readonly defaults: CallDefaults
}

/**
 * The limits, listeners and budget of one call of a step. Its attempts go into the draft of the outcome, its chunks
 * into the update log.
 */
export function createCallContext(
  deps: CallContextDeps,
  task: StepTask,
  sample: number,
  draft: StepOutcomeDraft,
  abort: AbortController,
): CallContext {
  const { run, step, path, iteration } = task
  const { defaults } = deps
  return {
    signal: abort.signal,
    abort,
    timeoutMs: step.timeout ?? run.options.stepTimeoutMs ?? defaults.timeoutMs,
    firstChunkTimeoutMs: defaults.firstChunkTimeoutMs,
    idleTimeoutMs: step.idleTimeout ?? defaults.idleTimeoutMs,
    maxRetries: step.retryOnFailure === false ? 0 : (step.maxRetries ?? defaults.maxRetries),
    restartAfterFirstToken: step.fallbackAfterFirstToken ?? false,
    complete: step.complete,
    budget: run.budget,
    sharedBudgets: run.sharedBudgets,
    onDelta: run.options.streaming
      ? (delta) => run.log.emit('step_progress', sample === 0 ? { delta } : { delta, sample }, path, iteration)
      : undefined,
    onReasoning: run.options.streaming ? reasoningListener(task, sample) : undefined,
    beforeRepeat: (request) => announceNext(deps, task, sample, draft, request),
    onRetry: (retry) => run.log.emit('step_retry', retry, path, iteration),
    observe: observeCalls(task, sample),
    onAttempt: (attempt) => draft.attempts.push(numbered(attempt, draft.attempts.length + 1)),
  }
}

function reasoningListener({ run, step, path, iteration }: StepTask, sample: number): (delta: string) => void {
  const kind = 'reasoning' as const
  const isStored = step.keepReasoning === true
  return (delta) => {
    const data = sample === 0 ? { delta, kind } : { delta, kind, sample }
    run.log.emit('step_progress', data, path, iteration, isStored)
  }
}

/** Attempts are numbered over all executions of a flow. */
const numbered = (attempt: Attempt, number: number): Attempt => (attempt.number === number ? attempt : { ...attempt, number })

/** A controller that the end of the flow, the failure of a sibling or the timeout of the call aborts. */
export function openAbort({ run, options }: StepTask): AbortController {
  const abort = new AbortController()
  run.cancellation.add(abort)
  options.cancellation?.add(abort)
  return abort
}

export function closeAbort({ run, options }: StepTask, abort: AbortController): void {
  run.cancellation.delete(abort)
  options.cancellation?.delete(abort)
}
