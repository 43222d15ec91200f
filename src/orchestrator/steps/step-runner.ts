import pLimit from 'p-limit'
import { callListener } from '../../async/call-listener.ts'
import type { Call, CallRequest } from '../../calls/call.ts'
import { isPool, type PoolDirectory } from '../../domain/definition/call/pools.ts'
import type { FlowStep, Target } from '../../domain/definition/flow-definition.ts'
import { SharingDeniedError } from '../../domain/execution/sharing-denied.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import { isRunStep } from '../../domain/tools/tool-fields.ts'
import type { ResolveAttachments } from '../../domain/users/new-attachment.ts'
import type { SharingDecision } from '../../domain/users/sharing.ts'
import { isWaitingStep } from '../../domain/waiting/waiting-steps.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { RunStepOptions } from '../../executors/executor.ts'
import { keepFiles } from '../files/keep-files.ts'
import { type FlowExecution, type PriorAnswer, recordKey } from '../flow-run.ts'
import type { FindOperations } from '../operations/find-operation.ts'
import { operationReader } from '../operations/operation-reader.ts'
import { closedBy } from '../tools/closed-turns.ts'
import type { RunTools } from '../tools/tool-loop.ts'
import { confirmRepeat } from '../waiting/confirm-repeat.ts'
import type { RunWaitStep } from '../waiting/wait-step.ts'
import { slotIn } from './acquire-slot.ts'
import { answerReader, type StepAnswerReader } from './answers/answer-reader.ts'
import { repairAnswer } from './answers/answer-repair.ts'
import { type CallContextDeps, closeAbort, createCallContext, openAbort } from './call-context.ts'
import { announceFirst, settleBefore, settleLost } from './call-intents.ts'
import type { StepTask } from './step-inputs.ts'
import type { PrepareStep, StepPrompt } from './step-prompt.ts'
import { joinSamples, promptOf, type StepOutcomeDraft, toResult, toStored } from './step-record.ts'
import { messageIdOf, toThreadMessage } from './thread-messages.ts'

export interface StepRunnerDeps extends CallContextDeps {
  /** Implemented by createModels. */
  readonly operationsOf: FindOperations
  /** Implemented by createCall. */
  readonly call: Call
  readonly pools: Pick<PoolDirectory, 'membersOf'>
  /** Implemented by createStepPrompt. */
  readonly prepare: PrepareStep
  /** Implemented by createWaitStep. */
  readonly runWait: RunWaitStep
  /** Implemented by createAttachments. */
  readonly storeFiles: ResolveAttachments
  /** Implemented by createToolLoop. */
  readonly runTools: RunTools
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
  const reader = isRunStep(step) ? operationReader(step, options.verdict) : answerReader(step, options.verdict)
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
    confirmRepeat(task, deps)?.then(
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
  run.log.record([toStored(step, result.samples ? { ...result, attempts: [] } : result)], {
    ...(isSaved && { messages: [toThreadMessage(run, result)] }),
    ...(given.status === 'SUCCESS' && closedBy(step, path, iteration)),
  })
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
  const slot = slotIn(limit, [task.run.cancellation, cancellation])
  try {
    if (limit) await slot.enter()
    // The members of a pool are prepared when they are asked.
    draft.prompt = isPool(step) ? undefined : await deps.prepare(task, step)
    emitStart(task, draft, draft.prompt, sample)
    if (run.prior.lost.size > 0 || run.prior.untraced.size > 0) await settleLost(deps, task, sample, draft, draft.prompt)
    const begin = (request: StepPrompt | undefined) => {
      if (request) announceFirst(deps, task, sample, draft, request)
      return settleBefore(task)
    }
    const known = run.prior.answers.get(key)
    if (known) await takeAnswer(deps, task, draft, known)
    if (step.tools) draft.response = await deps.runTools({ task, sample, draft, abort, prompt: draft.prompt, begin, slot })
    if (!draft.response) {
      await begin(draft.prompt)
      const request = toCallRequest(deps, task, draft, draft.prompt)
      draft.response = await deps.call(request, createCallContext(deps, task, sample, draft, abort))
      draft.prompt = promptOf(draft, draft.response)
    }
    if (reader) {
      const { value, notes } = await reader.read(draft.response, (text, problem) =>
        repairAnswer(deps, { task, sample, draft, context: createCallContext(deps, task, sample, draft, abort) }, text, problem),
      )
      draft.parsed = value
      draft.notes = notes
      if (value === undefined && reader.request) draft.keepAnswer = undefined
    }
    draft.keepAnswer?.()
    const { files } = draft.response
    if (files?.length) draft.kept = await keepFiles(deps.storeFiles, run, files, cancellation)
  } catch (error) {
    draft.error = error
    if (error instanceof SharingDeniedError) recordSharing(task, draft, [error.decision])
  } finally {
    slot.leave()
    closeAbort(task, abort)
  }
  const result = toResult(task, draft, deps.now(), sample)
  return resultIndex === undefined ? result : recordResult(task, resultIndex, result)
}

/**
 * The first target gets the prompt that was prepared before the step's start update. For a fallback, sharing is decided
 * and the prompt rendered again, as for every member of a pool that is asked.
 */
function toCallRequest(
  deps: StepRunnerDeps,
  task: StepTask,
  draft: StepOutcomeDraft,
  first: StepPrompt | undefined,
): CallRequest {
  const { step } = task
  const prepareAgain = async (target: Target) => {
    const prompt = await deps.prepare(task, target)
    recordSharing(task, draft, prompt.sharing)
    draft.prompt = prompt
    draft.prompts = [...(draft.prompts ?? []), prompt]
    return prompt
  }
  return { targets: [step, ...step.fallbacks], prepare: (target) => (first && target === step ? first : prepareAgain(target)) }
}

/**
 * Continues with an answer that an earlier execution received. If a fallback gave it, a repair goes to that provider,
 * so that the request must be the one it may see.
 */
async function takeAnswer(
  deps: StepRunnerDeps,
  task: StepTask,
  draft: StepOutcomeDraft,
  { response, origins }: PriorAnswer,
): Promise<void> {
  const { provider, requestedModel } = response
  if (provider !== draft.prompt?.provider) {
    draft.prompt = await deps.prepare(task, { provider, model: requestedModel })
    recordSharing(task, draft, draft.prompt.sharing)
  }
  draft.response = response
  draft.priorOrigins = origins
}

/** Throws LIMIT_EXCEEDED if the step would be one too many. A step counts once, however many samples it takes. */
function refusalOf({ run, step }: StepTask): OrchestratorError | undefined {
  const maxSteps = run.limits?.maxSteps
  run.progress.stepsStarted++
  if (maxSteps === undefined || run.progress.stepsStarted <= maxSteps) return undefined
  const message = `Step "${step.id}" would be number ${run.progress.stepsStarted} of at most ${maxSteps} steps`
  return new OrchestratorError('LIMIT_EXCEEDED', message, { details: { limit: 'maxSteps', max: maxSteps, stepId: step.id } })
}

function emitStart(task: StepTask, draft: StepOutcomeDraft, prompt: StepPrompt | undefined, sample: number): void {
  const { run, step, path, iteration } = task
  const { provider, model } = step
  const sharing = prompt?.sharing ?? []
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
