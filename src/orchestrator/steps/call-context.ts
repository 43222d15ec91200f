import type { AnswerCaching, CallContext } from '../../calls/call.ts'
import type { AnswerCacheSettings } from '../../domain/definition/call/answer-cache.ts'
import { isPool } from '../../domain/definition/call/pools.ts'
import type { FlowStep } from '../../domain/definition/flow-definition.ts'
import type { Attempt } from '../../domain/execution/step-result.ts'
import { isRunStep } from '../../domain/tools/tool-fields.ts'
import { announceNext, type CallIntentsDeps } from './call-intents.ts'
import { observeCalls } from './observe-calls.ts'
import type { StepTask } from './step-inputs.ts'
import type { StepPrompt } from './step-prompt.ts'
import { nextAttemptNumber, type StepOutcomeDraft } from './step-record.ts'

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
  // An operation has no chunks, for whose first a model would have only the time of a stream.
  const streams = run.options.streaming && !isRunStep(step) && draft.prompt?.operation === undefined
  return {
    signal: abort.signal,
    abort,
    timeoutMs: step.timeout ?? run.options.stepTimeoutMs ?? defaults.timeoutMs,
    firstChunkTimeoutMs: defaults.firstChunkTimeoutMs,
    idleTimeoutMs: step.idleTimeout ?? defaults.idleTimeoutMs,
    maxRetries: retriesOf(step, draft.prompt, defaults),
    restartAfterFirstToken: step.fallbackAfterFirstToken ?? false,
    complete: step.complete,
    budget: run.budget,
    sharedBudgets: run.sharedBudgets,
    answerCaching: step.cache ? toAnswerCaching(task, sample, step.cache, draft) : undefined,
    onDelta: streams
      ? (delta) => run.log.emit('step_progress', sample === 0 ? { delta } : { delta, sample }, path, iteration)
      : undefined,
    onReasoning: streams ? reasoningListener(task, sample) : undefined,
    beforeRepeat: (request) => announceNext(deps, task, sample, draft, request),
    announcesFirst: isPool(step),
    onRetry: (retry) => run.log.emit('step_retry', retry, path, iteration),
    observe: observeCalls(task, sample),
    onAttempt: (attempt) => draft.attempts.push(numbered(attempt, nextAttemptNumber(draft))),
  }
}

/** An operation that is not idempotent might have a second effect, so it is tried once. */
function retriesOf({ retryOnFailure, maxRetries }: FlowStep, prompt: StepPrompt | undefined, defaults: CallDefaults): number {
  if (retryOnFailure === false || prompt?.operation?.idempotent === false) return 0
  return maxRetries ?? defaults.maxRetries
}

function toAnswerCaching(
  { run, step }: StepTask,
  sample: number,
  settings: Exclude<AnswerCacheSettings, false>,
  draft: StepOutcomeDraft,
): AnswerCaching {
  const { ttlMs, scope = 'user' } = settings === true ? {} : settings
  const names = { flow: `flow:${run.flowId}`, user: `user:${run.userId}`, shared: 'shared' }
  return {
    scope: names[scope],
    flowId: run.flowId,
    sample,
    ttlMs,
    keepsReasoning: step.keepReasoning ?? false,
    onAnswer(keep) {
      draft.keepAnswer = keep
    },
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
export const numbered = (attempt: Attempt, number: number): Attempt =>
  attempt.number === number ? attempt : { ...attempt, number }

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
