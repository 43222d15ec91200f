import type { Call, CallContext, CallResponse } from '../calls/call.ts'
import type { FlowStep, Target } from '../domain/flow-definition.ts'
import type { Attempt, StepResult } from '../domain/step-result.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { RunStepOptions } from '../executors/executor.ts'
import { type AnswerReader, answerReader } from './answer-reader.ts'
import { type FlowRun, recordKey } from './flow-run.ts'
import type { StepOrder } from './step-pieces.ts'
import type { PrepareStep, StepPrompt } from './step-prompt.ts'
import { emptyResult, joinSamples, Refusal, type Spoken, toResult } from './step-record.ts'

export interface StepRunnerPorts {
  readonly call: Call
  readonly prepare: PrepareStep
  readonly now: () => Date
  /** Writes the result as a message of the thread; resolves with the message's id. */
  readonly saveMessage: (run: FlowRun, result: StepResult) => Promise<string>
  readonly defaults: {
    readonly maxRetries: number
    readonly timeoutMs: number
    readonly firstChunkTimeoutMs: number
    readonly idleTimeoutMs: number
  }
}

/** Runs one step from start to record. */
export function createStepRunner(ports: StepRunnerPorts) {
  return async function runStep(run: FlowRun, step: FlowStep, options: RunStepOptions): Promise<StepResult> {
    const iteration = options.iteration ?? 1
    const recorded = run.recorded.get(recordKey(step.id, iteration, 0))
    const slot = run.results.length
    if (recorded) {
      run.results.push(recorded)
      return recorded
    }
    // Every step is durable before the next one spends money.
    if (run.log.durable) await run.log.durable
    throwIfEnded(run)
    const startedAt = ports.now()
    run.currentStepIndex = Math.max(run.currentStepIndex, run.definition.steps.indexOf(step))
    const reader = answerReader(step, options.verdict)
    const order: StepOrder = { run, step, options, iteration, answer: reader?.request }
    run.results.push(emptyResult(run, step, iteration, startedAt))
    const samples = step.samples ?? 1
    const result =
      samples === 1
        ? await withMessage(ports, run, await answer(ports, order, reader, 0))
        : await withMessage(
            ports,
            run,
            joinSamples(order, await answerAll(ports, order, reader, samples), startedAt, ports.now()),
          )
    run.results[slot] = result
    run.log.emit('step_complete', result, step.id, iteration)
    // The ledger rows of samples stand with the samples.
    run.log.record([samples === 1 ? result : { ...result, attempts: [] }])
    notify(run, result)
    throwIfEnded(run)
    return result
  }
}

export type RunStep = ReturnType<typeof createStepRunner>

/** All samples at the same time, each recorded as soon as it is there; recorded ones are not called again. */
function answerAll(
  ports: StepRunnerPorts,
  order: StepOrder,
  reader: AnswerReader | undefined,
  samples: number,
): Promise<readonly StepResult[]> {
  const { run, step, iteration } = order
  return Promise.all(
    Array.from({ length: samples }, async (_, index) => {
      const recorded = run.recorded.get(recordKey(step.id, iteration, index + 1))
      if (recorded) return recorded
      const result = await answer(ports, order, reader, index + 1)
      run.log.record([result])
      return result
    }),
  )
}

async function answer(
  ports: StepRunnerPorts,
  order: StepOrder,
  reader: AnswerReader | undefined,
  sample: number,
): Promise<StepResult> {
  const startedAt = ports.now()
  return toResult(order, await speak(ports, order, reader, sample), startedAt, ports.now(), sample)
}

async function speak(
  ports: StepRunnerPorts,
  order: StepOrder,
  reader: AnswerReader | undefined,
  sample: number,
): Promise<Spoken> {
  const { run, step, iteration } = order
  const key = recordKey(step.id, iteration, sample)
  const attempts: Attempt[] = []
  const earlier = run.earlierAttempts.get(key) ?? 0
  const possiblyDoubleBilled = run.inFlightAtCrash.has(`${step.id}#${iteration}`)
  let prompt: StepPrompt | undefined
  try {
    assertStepsLeft(run, step)
    const targets: readonly Target[] = [step, ...step.fallbacks]
    const prepare = async (target: Target) => {
      prompt = await ports.prepare(order, target)
      return prompt
    }
    const first = await prepare(step)
    announce(order, first, sample)
    const context = callContext(ports, order, sample, (attempt) => {
      const number = earlier + attempts.length + 1
      attempts.push({ ...attempt, number, ...(possiblyDoubleBilled && attempts.length === 0 ? { possiblyDoubleBilled } : {}) })
    })
    const response = await withStepSignal(order, (signal) =>
      ports.call({ targets, prepare: (target) => (target === step ? first : prepare(target)) }, { ...context, signal }),
    )
    assertAnswered(step, response)
    if (!reader) return { response, prompt, attempts, notes: [] }
    const read = await reader.read(response, async (text, problem) => {
      const again = await withStepSignal(order, (signal) =>
        ports.call(repairRequest(prompt ?? first, response, text, problem), { ...context, signal }),
      )
      return again.text
    })
    return { response, parsed: read.value, prompt, attempts, notes: read.notes }
  } catch (error) {
    return { prompt, attempts, notes: [], error }
  }
}

function assertStepsLeft(run: FlowRun, step: FlowStep): void {
  const maxSteps = run.definition.limits?.maxSteps
  run.stepsStarted++
  if (maxSteps === undefined || run.stepsStarted <= maxSteps) return
  throw new OrchestratorError(
    'LIMIT_EXCEEDED',
    `Step "${step.id}" would be number ${run.stepsStarted} of at most ${maxSteps} steps`,
    {
      details: { limit: 'maxSteps', max: maxSteps, stepId: step.id },
    },
  )
}

function announce({ run, step, iteration }: StepOrder, prompt: StepPrompt, sample: number): void {
  if (sample > 1) return
  const stepIndex = run.definition.steps.indexOf(step)
  run.log.emit(
    'step_start',
    { provider: prompt.provider, model: prompt.model, action: step.action, stepIndex, sharing: prompt.sharing },
    step.id,
    iteration,
  )
  for (const decision of prompt.sharing) if (!decision.allowed) run.log.emit('context_withheld', decision, step.id, iteration)
}

function callContext(
  ports: StepRunnerPorts,
  order: StepOrder,
  sample: number,
  onAttempt: CallContext['onAttempt'],
): Omit<CallContext, 'signal'> {
  const { run, step, iteration } = order
  const { defaults } = ports
  return {
    timeoutMs: step.timeout ?? run.options.stepTimeoutMs ?? defaults.timeoutMs,
    firstChunkTimeoutMs: defaults.firstChunkTimeoutMs,
    idleTimeoutMs: step.idleTimeout ?? defaults.idleTimeoutMs,
    maxRetries: step.retryOnFailure === false ? 0 : (step.maxRetries ?? defaults.maxRetries),
    restartAfterFirstToken: step.fallbackAfterFirstToken ?? false,
    budget: run.budget,
    onDelta: run.options.streaming
      ? (delta) => run.log.emit('step_progress', sample === 0 ? { delta } : { delta, sample }, step.id, iteration)
      : undefined,
    onRetry: (retry) => run.log.emit('step_retry', retry, step.id, iteration),
    onAttempt,
  }
}

/** The flow's signal, or that and a sibling's; AbortSignal.any keeps its sources alive on Node 20. */
async function withStepSignal<T>({ run, options }: StepOrder, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { signal: sibling } = options
  const flow = run.abort.signal
  if (!sibling) return work(flow)
  if (sibling.aborted) throw sibling.reason
  const either = new AbortController()
  const onFlow = () => either.abort(flow.reason)
  const onSibling = () => either.abort(sibling.reason)
  if (flow.aborted) onFlow()
  flow.addEventListener('abort', onFlow)
  sibling.addEventListener('abort', onSibling)
  try {
    return await work(either.signal)
  } finally {
    flow.removeEventListener('abort', onFlow)
    sibling.removeEventListener('abort', onSibling)
  }
}

function repairRequest(prompt: StepPrompt, response: CallResponse, text: string, problem: string) {
  const target: Target = { provider: response.provider, model: response.requestedModel }
  const content = `Your answer could not be read: ${problem}. Answer again with the JSON alone, nothing before or after it.`
  const messages = [
    ...prompt.messages,
    { role: 'assistant' as const, content: text || '(no text)' },
    { role: 'user' as const, content },
  ]
  return { targets: [target], prepare: () => ({ ...prompt, provider: target.provider, model: target.model, messages }) }
}

function assertAnswered(step: FlowStep, response: CallResponse): void {
  const refused = response.finishReason === 'refusal' || response.refusal !== undefined
  if (!refused && response.finishReason !== 'content_filter') return
  if (response.text.trim() !== '' && !refused) return
  const what = refused ? 'The model refused to answer' : 'The provider filtered the answer'
  throw new Refusal(`${what} in step "${step.id}"`, response)
}

async function withMessage(ports: StepRunnerPorts, run: FlowRun, result: StepResult): Promise<StepResult> {
  if (!run.options.saveMessages || result.status !== 'SUCCESS') return result
  try {
    return { ...result, messageId: await ports.saveMessage(run, result) }
  } catch (error) {
    return { ...result, notes: [...result.notes, `the message was not saved: ${OrchestratorError.from(error).code}`] }
  }
}

function throwIfEnded(run: FlowRun): void {
  if (run.abort.signal.aborted) throw run.abort.signal.reason
}

// The caller's code: whatever it does, the flow goes on.
function notify(run: FlowRun, result: StepResult): void {
  try {
    const outcome = run.definition.onStepComplete?.(result)
    if (outcome instanceof Promise) outcome.catch(() => {})
  } catch {}
}
