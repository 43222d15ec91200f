import type { CallResponse } from '../../calls/call.ts'
import { isPool } from '../../domain/definition/call/pools.ts'
import type { FlowStep } from '../../domain/definition/flow-definition.ts'
import { callFactsOf } from '../../domain/execution/call-facts.ts'
import { costOf } from '../../domain/execution/cost.ts'
import type { ModelResponse } from '../../domain/execution/model-call.ts'
import { type Attempt, type StepResult, stepResultId } from '../../domain/execution/step-result.ts'
import { addUsage } from '../../domain/execution/usage.ts'
import { joinOrigins } from '../../domain/users/origins.ts'
import type { Origin, SharingDecision } from '../../domain/users/sharing.ts'
import { type ErrorInfo, OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { KeptFiles } from '../files/keep-files.ts'
import type { FlowExecution } from '../flow-run.ts'
import { originsThrough } from '../provenance/result-origins.ts'
import type { StepTask } from './step-inputs.ts'
import type { StepPrompt } from './step-prompt.ts'

/** The state of one call of a step until its result is built. */
export interface StepOutcomeDraft {
  readonly startedAt: Date
  readonly attempts: Attempt[]
  /** Sharing decisions for all targets. */
  readonly sharing: SharingDecision[]
  /** The request to the last target, and after an answer the one that was answered. */
  prompt?: StepPrompt
  /** The requests to fallbacks and to members of pools, in the order in which they were prepared. */
  prompts?: readonly StepPrompt[]
  response?: CallResponse
  parsed?: unknown
  /** What an answer of an earlier execution was made from. */
  priorOrigins?: readonly Origin[]
  /** The highest number that was given to an attempt before it was made. */
  lastNumber?: number
  /** What a step with tools did. */
  tools?: Pick<StepResult, 'turns' | 'toolCalls'>
  notes: readonly string[]
  /** Files of the answer that were stored. */
  kept?: KeptFiles
  error?: unknown
  /** Keeps the answer for equal requests; absent if it must not be kept. */
  keepAnswer?: () => void
}

/**
 * The request that was answered. A pool may have prepared further members after the one that answered in a later round.
 */
export const promptOf = (
  { prompt, prompts }: StepOutcomeDraft,
  { provider, requestedModel }: CallResponse,
): StepPrompt | undefined => prompts?.find((other) => other.provider === provider && other.model === requestedModel) ?? prompt

/** The number of the next attempt: above all that were made, and all that calls in flight will have. */
export const nextAttemptNumber = ({ attempts, lastNumber = 0 }: StepOutcomeDraft): number =>
  Math.max(lastNumber, attempts.at(-1)?.number ?? 0) + 1

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
    origins: answered.length === 0 ? chosen.item.origins : originsOfSamples(run, answered),
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

/** Every sample may be read beside the one that was chosen, so all of them count, with their writers. */
const originsOfSamples = (run: FlowExecution, samples: readonly StepResult[]): readonly Origin[] =>
  joinOrigins(samples.map((sample) => originsThrough(run, sample)))

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
    // A repair after a crash asks the member that answered.
    requestedModel: isPool(step) ? (draft.response?.requestedModel ?? step.model) : step.model,
    action: step.action,
    output: error === undefined ? response?.text : undefined,
    parsed: draft.parsed,
    refusal: response?.refusal,
    reasoning: response?.reasoningText,
    sources: response?.sources,
    files: draft.kept?.files,
    finishReason: response?.finishReason,
    turns: draft.tools?.turns,
    toolCalls: draft.tools?.toolCalls,
    usage,
    cost,
    costSource,
    executionTime: completedAt.getTime() - startedAt.getTime(),
    retryCount,
    attempts,
    origins: prompt && (draft.priorOrigins ? joinOrigins([draft.priorOrigins, prompt.origins]) : prompt.origins),
    withheld: sharing.filter((decision) => !decision.allowed),
    sharing,
    notes: notesOf(draft, response),
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

function notesOf({ prompt, response, notes, kept }: StepOutcomeDraft, answer: ModelResponse | undefined): readonly string[] {
  const all = prompt ? [...prompt.promptNotes] : []
  if (answer) all.push(...answer.notes)
  if (response?.cut !== undefined) all.push(response.cut)
  all.push(...notes)
  if (kept) all.push(...kept.notes)
  return all
}

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
