import pLimit from 'p-limit'
import { callListener } from '../../async/call-listener.ts'
import type { Call, CallContext, CallRequest, CallResponse } from '../../calls/call.ts'
import type { FlowStep, Target } from '../../domain/definition/flow-definition.ts'
import type { ModelMessage } from '../../domain/execution/model-call.ts'
import type { Attempt, StepResult } from '../../domain/execution/step-result.ts'
import { CONTEXT_KINDS, type SharingDecision } from '../../domain/users/sharing.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { RunStepOptions } from '../../executors/executor.ts'
import { type FlowExecution, recordKey } from '../flow-run.ts'
import { acquireSlot } from './acquire-slot.ts'
import { answerReader, type StepAnswerReader } from './answer-reader.ts'
import { observeCalls } from './observe-calls.ts'
import type { StepTask } from './step-inputs.ts'
import type { PrepareStep, StepPrompt } from './step-prompt.ts'
import { joinSamples, type StepOutcomeDraft, toResult } from './step-record.ts'
import { messageIdOf, toThreadMessage } from './thread-messages.ts'

export interface StepRunnerDeps {
  /** Implemented by createCall. */
  readonly call: Call
  /** Implemented by createStepPrompt. */
  readonly prepare: PrepareStep
  readonly now: () => Date
  readonly defaults: {
    readonly maxRetries: number
    readonly timeoutMs: number
    readonly firstChunkTimeoutMs: number
    readonly idleTimeoutMs: number
  }
}

/** Runs one step from start to record. */
export function createStepRunner(deps: StepRunnerDeps) {
  // Thousands of flows wait in here for their answers, and a suspended async function weighs several times a callback: only `answer` is one.
  return function runStep(run: FlowExecution, step: FlowStep, options: RunStepOptions): Promise<StepResult> {
    const recorded = run.prior.recorded.get(recordKey(step.id, options.iteration ?? 1, 0))
    if (recorded) {
      run.progress.results.push(recorded)
      return Promise.resolve(recorded)
    }
    return begin(deps, run, step, options)
  }
}

export type RunStep = ReturnType<typeof createStepRunner>

function begin(deps: StepRunnerDeps, run: FlowExecution, step: FlowStep, options: RunStepOptions): Promise<StepResult> {
  if (run.cancellation.cancelled) return Promise.reject(run.cancellation.reason)
  run.progress.currentStepIndex = Math.max(run.progress.currentStepIndex, run.definition.steps.indexOf(step))
  const reader = answerReader(step, options.verdict)
  const order: StepTask = { run, step, options, iteration: options.iteration ?? 1, answer: reader?.request }
  const slot = run.progress.results.push(undefined) - 1
  const refusal = refusalOf(order)
  if (refusal) {
    const at = deps.now()
    return Promise.resolve(
      conclude(order, slot, toResult(order, { attempts: [], sharing: [], notes: [], error: refusal }, at, at, 0)),
    )
  }
  if (step.samples === undefined || step.samples === 1) return answer(deps, order, reader, 0, slot)
  return sample(deps, order, reader, step.samples, slot)
}

/** Samples of one step under way at once, where the flow states no bound of its own. */
const SAMPLES_AT_ONCE = 10

async function sample(
  deps: StepRunnerDeps,
  order: StepTask,
  reader: StepAnswerReader | undefined,
  samples: number,
  slot: number,
) {
  const startedAt = deps.now()
  const { limit = pLimit(SAMPLES_AT_ONCE) } = order.options
  const answers = await answerAll(deps, { ...order, options: { ...order.options, limit } }, reader, samples)
  return conclude(order, slot, joinSamples(order, answers, startedAt, deps.now()))
}

/** Records a result, with its message where the caller asked for one: one write under one fence. */
function conclude({ run, step, iteration }: StepTask, slot: number, given: StepResult): StepResult {
  const isSaved = run.options.saveMessages && given.status === 'SUCCESS'
  const result = isSaved ? { ...given, messageId: messageIdOf(given) } : given
  run.progress.results[slot] = result
  run.log.emit('step_complete', result, step.id, iteration)
  // The ledger rows of samples stand with the samples.
  run.log.record(
    [toStored(step, result.samples ? { ...result, attempts: [] } : result)],
    isSaved ? [toThreadMessage(run, result)] : undefined,
  )
  callListener(() => run.definition.onStepComplete?.(result))
  if (run.cancellation.cancelled) throw run.cancellation.reason
  return result
}

/** All samples, as many at a time as the limit lets through, each recorded as soon as it is there; recorded ones are not called again. */
function answerAll(
  deps: StepRunnerDeps,
  order: StepTask,
  reader: StepAnswerReader | undefined,
  samples: number,
): Promise<readonly StepResult[]> {
  const { run, step, iteration } = order
  return Promise.all(
    Array.from({ length: samples }, async (_, index) => {
      const recorded = run.prior.recorded.get(recordKey(step.id, iteration, index + 1))
      if (recorded) return recorded
      const result = await answer(deps, order, reader, index + 1)
      run.log.record([toStored(step, result)])
      return result
    }),
  )
}

/**
 * Asks, reads, and asks once more where the answer cannot be read: what goes wrong is the result. With a `slot` the answer is the step's own
 * and is concluded here; a sample is not.
 */
async function answer(
  deps: StepRunnerDeps,
  order: StepTask,
  reader: StepAnswerReader | undefined,
  sample: number,
  slot?: number,
): Promise<StepResult> {
  const { step } = order
  const startedAt = deps.now()
  const prior = order.run.prior.attempts.get(recordKey(step.id, order.iteration, sample))
  const abort = openAbort(order)
  const spoken: StepOutcomeDraft = { attempts: prior ? [...prior] : [], sharing: [], notes: [] }
  const { limit, cancellation } = order.options
  let release: (() => void) | undefined
  try {
    if (limit) release = await acquireSlot(limit, [order.run.cancellation, cancellation])
    spoken.prompt = await deps.prepare(order, step)
    announce(order, spoken, spoken.prompt, sample)
    await settleBefore(order.run)
    spoken.response = await deps.call(
      toCallRequest(deps, order, spoken, spoken.prompt),
      callContext(deps, order, sample, spoken, abort),
    )
    if (reader) {
      const { value, notes } = await reader.read(spoken.response, (text, problem) =>
        repair(deps, callContext(deps, order, sample, spoken, abort), spoken, text, problem),
      )
      spoken.parsed = value
      spoken.notes = notes
    }
  } catch (error) {
    spoken.error = error
    const denied = deniedDecision(error)
    if (denied) tellSharing(order, spoken, [denied])
  } finally {
    release?.()
    closeAbort(order, abort)
  }
  const result = toResult(order, spoken, startedAt, deps.now(), sample)
  return slot === undefined ? result : conclude(order, slot, result)
}

/** The first target gets what was prepared to announce the step; a fallback is judged and rendered anew. */
function toCallRequest(deps: StepRunnerDeps, order: StepTask, spoken: StepOutcomeDraft, first: StepPrompt): CallRequest {
  const { step } = order
  const prepareAgain = async (target: Target) => {
    spoken.prompt = await deps.prepare(order, target)
    tellSharing(order, spoken, spoken.prompt.sharing)
    return spoken.prompt
  }
  return { targets: [step, ...step.fallbacks], prepare: (target) => (target === step ? first : prepareAgain(target)) }
}

function repair(
  deps: StepRunnerDeps,
  context: CallContext,
  spoken: StepOutcomeDraft,
  text: string,
  problem: string,
): Promise<CallResponse> | undefined {
  const { prompt, response } = spoken
  if (!prompt || !response) return undefined
  const content = `Your answer could not be read: ${problem}. Answer again with the JSON alone, nothing before or after it.`
  const target: Target = { provider: response.provider, model: response.requestedModel }
  const messages: readonly ModelMessage[] = [...prompt.messages, { role: 'assistant', content: text }, { role: 'user', content }]
  const request: CallRequest = { targets: [target], prepare: () => ({ ...prompt, ...target, messages }) }
  return deps.call(request, context)
}

/** Ends with the flow, or with a sibling's failure, or by its own timeout. */
function openAbort({ run, options }: StepTask): AbortController {
  const abort = new AbortController()
  run.cancellation.add(abort)
  options.cancellation?.add(abort)
  return abort
}

function closeAbort({ run, options }: StepTask, abort: AbortController): void {
  run.cancellation.delete(abort)
  options.cancellation?.delete(abort)
}

function callContext(
  deps: StepRunnerDeps,
  order: StepTask,
  sample: number,
  spoken: StepOutcomeDraft,
  abort: AbortController,
): CallContext {
  const { run, step, iteration } = order
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
    onDelta: run.options.streaming
      ? (delta) => run.log.emit('step_progress', sample === 0 ? { delta } : { delta, sample }, step.id, iteration)
      : undefined,
    onReasoning: run.options.streaming ? reasoningListener(order, sample) : undefined,
    onRetry: (retry) => run.log.emit('step_retry', retry, step.id, iteration),
    observe: observeCalls(order, sample),
    onAttempt: (attempt) => spoken.attempts.push(numbered(order, attempt, spoken.attempts.length + 1)),
  }
}

function reasoningListener({ run, step, iteration }: StepTask, sample: number): (delta: string) => void {
  const kind = 'reasoning' as const
  const isStored = step.keepReasoning === true
  return (delta) => {
    const data = sample === 0 ? { delta, kind } : { delta, kind, sample }
    run.log.emit('step_progress', data, step.id, iteration, isStored)
  }
}

/** Reasoning is stored only where the step says so. */
const toStored = (step: FlowStep, result: StepResult): StepResult =>
  step.keepReasoning || result.reasoning === undefined ? result : { ...result, reasoning: undefined }

/** Ledger numbers count on over the runs of a flow; the first try after a crash may be the second that is billed. */
function numbered({ run, step, iteration }: StepTask, attempt: Attempt, number: number): Attempt {
  const possiblyDoubleBilled = attempt.number === 1 && run.prior.inFlight.has(`${step.id}#${iteration}`)
  if (possiblyDoubleBilled) return { ...attempt, number, possiblyDoubleBilled }
  return attempt.number === number ? attempt : { ...attempt, number }
}

/** Why the step may not run any more; a step counts once, however many samples it takes. */
function refusalOf({ run, step }: StepTask): OrchestratorError | undefined {
  const maxSteps = run.limits?.maxSteps
  run.progress.stepsStarted++
  if (maxSteps === undefined || run.progress.stepsStarted <= maxSteps) return undefined
  const message = `Step "${step.id}" would be number ${run.progress.stepsStarted} of at most ${maxSteps} steps`
  return new OrchestratorError('LIMIT_EXCEEDED', message, { details: { limit: 'maxSteps', max: maxSteps, stepId: step.id } })
}

/**
 * Every step is durable before the next one spends money, and so is its start: after a crash the step in flight is known. The first steps of
 * a flow need no such mark; a flow that a crash leaves without any result was in them.
 */
async function settleBefore(run: FlowExecution): Promise<void> {
  const isFirst = run.prior.results.length === 0 && run.progress.results.every((result) => result === undefined)
  if (!isFirst) run.log.flush()
  if (run.log.durable) await run.log.durable
  if (run.cancellation.cancelled) throw run.cancellation.reason
}

function announce(order: StepTask, spoken: StepOutcomeDraft, { provider, model, sharing }: StepPrompt, sample: number): void {
  const { run, step, iteration } = order
  const stepIndex = run.definition.steps.indexOf(step)
  if (sample <= 1) run.log.emit('step_start', { provider, model, action: step.action, stepIndex, sharing }, step.id, iteration)
  tellSharing(order, spoken, sharing, sample)
}

/** Keeps decisions for the result, and tells of what is held back, once for all samples. */
function tellSharing(
  { run, step, iteration }: StepTask,
  spoken: StepOutcomeDraft,
  sharing: readonly SharingDecision[],
  sample = 0,
): void {
  spoken.sharing.push(...sharing)
  if (sample > 1) return
  for (const decision of sharing) if (!decision.allowed) run.log.emit('context_withheld', decision, step.id, iteration)
}

/** The decision that stopped a step before its call. */
function deniedDecision(error: unknown): SharingDecision | undefined {
  if (!OrchestratorError.is(error) || error.code !== 'DATA_SHARING_DENIED') return undefined
  const { kind, piece, from, to, rule } = error.details
  const known = CONTEXT_KINDS.find((candidate) => candidate === kind)
  if (!known) return undefined
  const decision = { kind: known, piece: String(piece), to: String(to), allowed: false, rule: String(rule) }
  return from === undefined ? decision : { ...decision, from: String(from) }
}
