import pLimit from 'p-limit'
import { callListener } from '../../async/call-listener.ts'
import { untilCancelled } from '../../async/until-cancelled.ts'
import type { Call, CallContext, CallRequest, CallResponse } from '../../calls/call.ts'
import type { FlowStep, Target } from '../../domain/definition/flow-definition.ts'
import type { ModelMessage } from '../../domain/execution/model-call.ts'
import { SharingDeniedError } from '../../domain/execution/sharing-denied.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { SharingDecision } from '../../domain/users/sharing.ts'
import { isWaitingStep } from '../../domain/waiting/waiting-steps.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { RunStepOptions } from '../../executors/executor.ts'
import { type FlowExecution, recordKey } from '../flow-run.ts'
import { confirmRepeat } from '../waiting/confirm-repeat.ts'
import type { RunWaitStep } from '../waiting/wait-step.ts'
import { acquireSlot } from './acquire-slot.ts'
import { answerReader, type StepAnswerReader } from './answer-reader.ts'
import { type CallContextDeps, closeAbort, createCallContext, openAbort } from './call-context.ts'
import { announceFirst, announceNext, settleLost } from './call-intents.ts'
import type { StepTask } from './step-inputs.ts'
import type { PrepareStep, StepPrompt } from './step-prompt.ts'
import { joinSamples, type StepOutcomeDraft, toResult, toStored } from './step-record.ts'
import { messageIdOf, toThreadMessage } from './thread-messages.ts'

export interface StepRunnerDeps extends CallContextDeps {
  /** Implemented by createCall. */
  readonly call: Call
  /** Implemented by createStepPrompt. */
  readonly prepare: PrepareStep
  /** Implemented by createWaitStep. */
  readonly runWait: RunWaitStep
}

/**
 * Creates the function that runs one step: it prepares the prompt, calls the provider, reads the answer, and records
 * the result. A result that an earlier execution recorded is returned without a call.
 */
export function createStepRunner(deps: StepRunnerDeps) {
  // A suspended async function takes several times the memory of a callback, and thousands of flows may wait for
  // answers at once. Without samples only `answer` is async among the functions that wait.
  return function runStep(run: FlowExecution, step: FlowStep, options: RunStepOptions): Promise<StepResult> {
    const recorded = run.prior.recorded.get(recordKey(options.path ?? step.id, options.iteration ?? 1, 0))
    if (recorded) {
      run.progress.results.push(recorded)
      return Promise.resolve(recorded)
    }
    return startStep(deps, run, step, options)
  }
}

export type RunStep = ReturnType<typeof createStepRunner>

function startStep(deps: StepRunnerDeps, run: FlowExecution, step: FlowStep, options: RunStepOptions): Promise<StepResult> {
  if (run.cancellation.cancelled) return Promise.reject(run.cancellation.reason)
  run.progress.currentStepIndex = Math.max(run.progress.currentStepIndex, run.definition.steps.indexOf(step))
  const reader = answerReader(step, options.verdict)
  const path = options.path ?? step.id
  const task: StepTask = { run, step, options, path, iteration: options.iteration ?? 1, answer: reader?.request }
  const resultIndex = run.progress.results.push(undefined) - 1
  const refusal = refusalOf(task)
  if (refusal) {
    const at = deps.now()
    return Promise.resolve(
      recordResult(
        task,
        resultIndex,
        toResult(task, { startedAt: at, attempts: [], sharing: [], notes: [], error: refusal }, at, 0),
      ),
    )
  }
  if (isWaitingStep(step)) return deps.runWait(task).then((result) => recordResult(task, resultIndex, result))
  const call = (asked: StepTask) =>
    step.samples === undefined || step.samples === 1
      ? answer(deps, asked, reader, 0, resultIndex)
      : sample(deps, asked, reader, step.samples, resultIndex)
  return (
    confirmRepeat(task, deps.now)?.then(
      (mayRepeat) => call({ ...task, mayRepeat }),
      (error) => {
        const at = deps.now()
        const draft = { startedAt: at, attempts: [], sharing: [], notes: [], error }
        return recordResult(task, resultIndex, toResult(task, draft, at, 0))
      },
    ) ?? call(task)
  )
}

/** Maximum number of samples of one step that run at once if the flow sets no limit. */
const SAMPLES_AT_ONCE = 10

async function sample(
  deps: StepRunnerDeps,
  task: StepTask,
  reader: StepAnswerReader | undefined,
  samples: number,
  resultIndex: number,
) {
  const startedAt = deps.now()
  const { limit = pLimit(SAMPLES_AT_ONCE) } = task.options
  const answers = await answerAll(deps, { ...task, options: { ...task.options, limit } }, reader, samples)
  return recordResult(task, resultIndex, joinSamples(task, answers, startedAt, deps.now()))
}

/** Records a result together with its message, if the caller asked for one, in one write of the journal. */
function recordResult({ run, step, path, iteration }: StepTask, resultIndex: number, given: StepResult): StepResult {
  const isSaved = run.options.saveMessages && given.status === 'SUCCESS'
  const result = isSaved ? { ...given, messageId: messageIdOf(given) } : given
  run.progress.results[resultIndex] = result
  run.log.emit('step_complete', result, path, iteration)
  // Attempts of samples are stored with the samples.
  run.log.record(
    [toStored(step, result.samples ? { ...result, attempts: [] } : result)],
    isSaved ? [toThreadMessage(run, result)] : undefined,
  )
  callListener(() => run.definition.onStepComplete?.(result))
  if (run.cancellation.cancelled) throw run.cancellation.reason
  return result
}

/**
 * Runs all samples within the limit of the step and records each as soon as it has ended. Samples that are already
 * recorded are not called again.
 */
function answerAll(
  deps: StepRunnerDeps,
  task: StepTask,
  reader: StepAnswerReader | undefined,
  samples: number,
): Promise<readonly StepResult[]> {
  const { run, step, path, iteration } = task
  return Promise.all(
    Array.from({ length: samples }, async (_, index) => {
      const recorded = run.prior.recorded.get(recordKey(path, iteration, index + 1))
      if (recorded) return recorded
      const result = await answer(deps, task, reader, index + 1)
      run.log.record([toStored(step, result)])
      return result
    }),
  )
}

/**
 * Makes one call and reads its answer, with one repair call where it cannot be read. Errors become part of the result.
 * With a `resultIndex` the answer is the step's own and is recorded here; a sample is recorded by its caller.
 */
async function answer(
  deps: StepRunnerDeps,
  task: StepTask,
  reader: StepAnswerReader | undefined,
  sample: number,
  resultIndex?: number,
): Promise<StepResult> {
  const { step, run } = task
  const key = recordKey(task.path, task.iteration, sample)
  const prior = run.prior.attempts.get(key)
  const abort = openAbort(task)
  const draft: StepOutcomeDraft = { startedAt: deps.now(), attempts: prior ? [...prior] : [], sharing: [], notes: [] }
  const { limit, cancellation } = task.options
  let release: (() => void) | undefined
  try {
    if (limit) release = await acquireSlot(limit, [task.run.cancellation, cancellation])
    draft.prompt = await deps.prepare(task, step)
    emitStart(task, draft, draft.prompt, sample)
    if (run.prior.lost.size > 0 || run.prior.untraced.size > 0) await settleLost(deps, task, sample, draft, draft.prompt)
    draft.response = run.prior.answers.get(key)
    if (!draft.response) {
      announceFirst(deps, task, sample, draft, draft.prompt)
      await settleBefore(task)
      const request = toCallRequest(deps, task, draft, draft.prompt)
      draft.response = await deps.call(request, createCallContext(deps, task, sample, draft, abort))
    }
    if (reader) {
      const { value, notes } = await reader.read(draft.response, (text, problem) =>
        repair(deps, task, sample, createCallContext(deps, task, sample, draft, abort), draft, text, problem),
      )
      draft.parsed = value
      draft.notes = notes
    }
  } catch (error) {
    draft.error = error
    if (error instanceof SharingDeniedError) recordSharing(task, draft, [error.decision])
  } finally {
    release?.()
    closeAbort(task, abort)
  }
  const result = toResult(task, draft, deps.now(), sample)
  return resultIndex === undefined ? result : recordResult(task, resultIndex, result)
}

/**
 * The first target gets the prompt that was prepared before the step's start update. For a fallback, sharing is decided
 * and the prompt rendered again.
 */
function toCallRequest(deps: StepRunnerDeps, task: StepTask, draft: StepOutcomeDraft, first: StepPrompt): CallRequest {
  const { step } = task
  const prepareAgain = async (target: Target) => {
    draft.prompt = await deps.prepare(task, target)
    recordSharing(task, draft, draft.prompt.sharing)
    return draft.prompt
  }
  return { targets: [step, ...step.fallbacks], prepare: (target) => (target === step ? first : prepareAgain(target)) }
}

/** The answer that could not be read is stored before the repair call, so that a crash does not pay for it again. */
function repair(
  deps: StepRunnerDeps,
  task: StepTask,
  sample: number,
  context: CallContext,
  draft: StepOutcomeDraft,
  text: string,
  problem: string,
): Promise<CallResponse> | undefined {
  const { prompt, response } = draft
  if (!prompt || !response) return undefined
  const content = `Your answer could not be read: ${problem}. Answer again with the JSON alone, nothing before or after it.`
  const target: Target = { provider: response.provider, model: response.requestedModel }
  const messages: readonly ModelMessage[] = [...prompt.messages, { role: 'assistant', content: text }, { role: 'user', content }]
  const request = { ...prompt, ...target, messages }
  return announceNext(deps, task, sample, draft, request).then(() =>
    deps.call({ targets: [target], prepare: () => request }, context),
  )
}

/** Throws LIMIT_EXCEEDED if the step would be one too many. A step counts once, however many samples it takes. */
function refusalOf({ run, step }: StepTask): OrchestratorError | undefined {
  const maxSteps = run.limits?.maxSteps
  run.progress.stepsStarted++
  if (maxSteps === undefined || run.progress.stepsStarted <= maxSteps) return undefined
  const message = `Step "${step.id}" would be number ${run.progress.stepsStarted} of at most ${maxSteps} steps`
  return new OrchestratorError('LIMIT_EXCEEDED', message, { details: { limit: 'maxSteps', max: maxSteps, stepId: step.id } })
}

/**
 * Waits until the results so far and the start of this step are durable, so that after a crash no step is paid for
 * twice and the call in flight is known. The first steps of a flow do not wait: if a crash leaves it without any result
 * and intent, it was running them.
 */
async function settleBefore({ run, options }: StepTask): Promise<void> {
  const isFirst =
    run.epoch === 1 && run.prior.results.length === 0 && run.progress.results.every((result) => result === undefined)
  if (!isFirst) run.log.flush()
  if (run.log.durable) await untilCancelled(run.log.durable, [run.cancellation, options.cancellation])
  if (run.cancellation.cancelled) throw run.cancellation.reason
}

function emitStart(task: StepTask, draft: StepOutcomeDraft, { provider, model, sharing }: StepPrompt, sample: number): void {
  const { run, step, path, iteration } = task
  const stepIndex = run.definition.steps.indexOf(step)
  if (sample <= 1) run.log.emit('step_start', { provider, model, action: step.action, stepIndex, sharing }, path, iteration)
  recordSharing(task, draft, sharing, sample)
}

/** Adds decisions to the result, and emits an update for each item that is withheld, once for all samples. */
function recordSharing(
  { run, path, iteration }: StepTask,
  draft: StepOutcomeDraft,
  sharing: readonly SharingDecision[],
  sample = 0,
): void {
  draft.sharing.push(...sharing)
  if (sample > 1) return
  for (const decision of sharing) if (!decision.allowed) run.log.emit('context_withheld', decision, path, iteration)
}
