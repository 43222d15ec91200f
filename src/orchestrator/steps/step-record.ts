import type { CallResponse } from '../../calls/call.ts'
import type { FlowStep } from '../../domain/definition/flow-definition.ts'
import { callFactsOf } from '../../domain/execution/call-facts.ts'
import { costOf } from '../../domain/execution/cost.ts'
import { type Attempt, type StepResult, stepResultId } from '../../domain/execution/step-result.ts'
import { addUsage } from '../../domain/execution/usage.ts'
import type { SharingDecision } from '../../domain/users/sharing.ts'
import { type ErrorInfo, OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { FlowExecution } from '../flow-run.ts'
import type { StepTask } from './step-inputs.ts'
import type { StepPrompt } from './step-prompt.ts'

/** The state of one call of a step until its result is built. */
export interface StepOutcomeDraft {
  readonly startedAt: Date
  readonly attempts: Attempt[]
  /** Sharing decisions for all targets. */
  readonly sharing: SharingDecision[]
  /** The request to the last target. */
  prompt?: StepPrompt
  response?: CallResponse
  parsed?: unknown
  notes: readonly string[]
  error?: unknown
}

/** Joins the samples of a step into its result: the answer that most samples give, with the attempts of all of them. */
export function joinSamples(
  { run, path, iteration }: StepTask,
  samples: readonly StepResult[],
  startedAt: Date,
  completedAt: Date,
): StepResult {
  const answered = samples.filter((sample) => sample.status === 'SUCCESS')
  const chosen = majority(
    (answered.length > 0 ? answered : samples.slice(0, 1)).map((item) => ({
      item,
      text: item.output ?? '',
      parsed: item.parsed,
    })),
  )
  const attempts = samples.flatMap((sample) => sample.attempts)
  const usage = addUsage(attempts.map((attempt) => attempt.usage))
  const { cost, costSource } = costOf(attempts)
  return {
    ...chosen.item,
    id: stepResultId(run.flowId, { path, iteration, sample: 0 }),
    sample: 0,
    attempts,
    usage,
    cost,
    costSource,
    samples: answered.map((sample) => sample.output ?? ''),
    notes: [
      ...chosen.item.notes,
      `${answered.length > 0 ? chosen.votes : 0} of ${samples.length} samples agree`,
      ...failedNotes(samples),
    ],
    executionTime: completedAt.getTime() - startedAt.getTime(),
    startedAt,
    completedAt,
    executedAt: completedAt,
    metadata: { ...chosen.item.metadata, usage, cost },
  }
}

const failedNotes = (samples: readonly StepResult[]): readonly string[] =>
  samples.flatMap(({ sample, error }) => (error ? [`sample ${sample} gave no answer: ${error.code}`] : []))

/** Builds the result of one call. */
export function toResult(task: StepTask, draft: StepOutcomeDraft, completedAt: Date, sample: number): StepResult {
  const { run, step, path, iteration } = task
  const { attempts, error, prompt, startedAt } = draft
  // The result also holds the facts of an unusable answer, such as a refusal.
  const response = draft.response ?? callFactsOf(error).answer
  const last = attempts.at(-1)
  const provider = draft.response?.provider ?? last?.provider ?? step.provider
  const model = response?.model ?? last?.model ?? step.model
  const usage = attempts.length === 0 ? undefined : addUsage(attempts.map((attempt) => attempt.usage))
  const { cost, costSource } = costOf(attempts)
  const retryCount = Math.max(0, attempts.length - 1)
  const { sharing } = draft
  return {
    id: stepResultId(run.flowId, { path, iteration, sample }),
    flowId: run.flowId,
    stepId: step.id,
    path,
    iteration,
    sample,
    status: error === undefined ? 'SUCCESS' : endedFromOutside(task) ? 'CANCELLED' : 'FAILED',
    provider,
    model,
    requestedModel: step.model,
    action: step.action,
    output: error === undefined ? response?.text : undefined,
    parsed: draft.parsed,
    refusal: response?.refusal,
    reasoning: response?.reasoningText,
    sources: response?.sources,
    finishReason: response?.finishReason,
    usage,
    cost,
    costSource,
    executionTime: completedAt.getTime() - startedAt.getTime(),
    retryCount,
    attempts,
    withheld: sharing.filter((decision) => !decision.allowed),
    sharing,
    notes: [...(prompt?.promptNotes ?? []), ...(response?.notes ?? []), ...cutNotes(draft), ...draft.notes],
    error: error === undefined ? undefined : toErrorInfo(run, step, iteration, attempts.length, error),
    startedAt,
    completedAt,
    executedAt: completedAt,
    metadata: { provider, model, action: step.action, usage, cost, retryCount },
    simulated: draft.response?.simulated ?? last?.simulated ?? false,
  }
}

/** Reasoning is stored only with `keepReasoning`. */
export const toStored = (step: FlowStep, result: StepResult): StepResult =>
  step.keepReasoning || result.reasoning === undefined ? result : { ...result, reasoning: undefined }

const cutNotes = ({ response }: StepOutcomeDraft): readonly string[] => (response?.cut === undefined ? [] : [response.cut])

/** Whether the end of the flow or the failure of a sibling ended the step. */
const endedFromOutside = ({ run, options }: StepTask): boolean =>
  run.cancellation.cancelled || options.cancellation?.cancelled === true

function toErrorInfo(run: FlowExecution, step: FlowStep, iteration: number, attempt: number, error: unknown): ErrorInfo {
  return OrchestratorError.from(error, 'STEP_FAILED').with({ flowId: run.flowId, stepId: step.id, iteration, attempt }).toJSON()
}

/** A result without a call, for a step that is skipped. */
export function emptyResult(run: Pick<FlowExecution, 'flowId'>, step: FlowStep, iteration: number, startedAt: Date): StepResult {
  const { provider, model, action } = step
  return {
    id: stepResultId(run.flowId, { path: step.id, iteration, sample: 0 }),
    flowId: run.flowId,
    stepId: step.id,
    path: step.id,
    iteration,
    sample: 0,
    status: 'RUNNING',
    provider,
    model,
    requestedModel: model,
    action,
    executionTime: 0,
    retryCount: 0,
    attempts: [],
    withheld: [],
    sharing: [],
    notes: [],
    startedAt,
    completedAt: startedAt,
    executedAt: startedAt,
    metadata: { provider, model, action, retryCount: 0 },
    simulated: false,
  }
}

export interface Sample<T> {
  readonly item: T
  readonly text: string
  readonly parsed?: unknown
}

/**
 * The answer that most samples give (self-consistency, arXiv 2203.11171). Answers read through a schema are compared by
 * value, others by text without case, spacing and closing punctuation. In a tie the earliest answer wins.
 */
export function majority<T>(samples: readonly Sample<T>[]): { readonly item: T; readonly votes: number } {
  const votes = new Map<string, { readonly item: T; votes: number }>()
  for (const sample of samples) {
    const ballot = sample.parsed === undefined ? normalized(sample.text) : JSON.stringify(sample.parsed)
    const entry = votes.get(ballot)
    if (entry) entry.votes++
    else votes.set(ballot, { item: sample.item, votes: 1 })
  }
  return [...votes.values()].reduce((best, entry) => (entry.votes > best.votes ? entry : best))
}

const normalized = (text: string): string =>
  text
    .toLowerCase()
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/[.!\s]+$/, '')
