import type { Attempt, StepResult } from '../../../domain/execution/step-result.ts'
import { stepResultId } from '../../../domain/execution/step-result.ts'
import type { Usage } from '../../../domain/execution/usage.ts'
import { present } from '../storable.ts'
import type { AttemptRow, JournalRow } from './journal-sql.ts'

/** What is seldom there, or only read whole, shares one JSON column; empty lists are left out. */
interface Details {
  readonly parsed?: unknown
  readonly refusal?: string
  readonly reasoning?: string
  readonly sources?: StepResult['sources']
  readonly samples?: readonly string[]
  readonly sharing?: StepResult['sharing']
  readonly withheld?: StepResult['withheld']
  readonly notes?: readonly string[]
  readonly messageId?: string
}

const usageColumns = (usage: Usage | undefined) => ({
  input_tokens: usage?.inputTokens,
  cached_input_tokens: usage?.cachedInputTokens,
  cache_write_tokens: usage?.cacheWriteTokens,
  output_tokens: usage?.outputTokens,
  reasoning_tokens: usage?.reasoningTokens,
  total_tokens: usage?.totalTokens,
  usage_source: usage?.source,
})

export const toStepResultRow = (flowId: string, result: StepResult, recorded: number): JournalRow<'results'> => ({
  flow_id: flowId,
  step_id: result.stepId,
  iteration: result.iteration,
  sample: result.sample,
  recorded,
  started_at: result.startedAt,
  completed_at: result.completedAt,
  execution_ms: result.executionTime,
  cost_usd: result.cost,
  retry_count: result.retryCount,
  ...usageColumns(result.usage),
  simulated: result.simulated,
  status: result.status,
  provider: result.provider,
  model: result.model,
  requested_model: result.requestedModel === result.model ? undefined : result.requestedModel,
  action: result.action,
  cost_source: result.costSource,
  finish_reason: result.finishReason,
  output: result.output,
  error: result.error,
  details: toDetails(result),
  attempts: result.attempts.length > 0 ? result.attempts.map(toAttemptRow) : undefined,
})

function toDetails(result: StepResult): Details | undefined {
  const { parsed, refusal, reasoning, sources, samples, sharing, withheld, notes, messageId } = result
  // What was withheld is a part of what was decided: stored a second time only where it is not.
  const refused = sharing.filter((decision) => !decision.allowed)
  const derivable = refused.length === withheld.length && withheld.every((decision, index) => decision === refused[index])
  const details: Details = {
    parsed,
    refusal,
    reasoning,
    sources,
    samples,
    sharing: sharing.length > 0 ? sharing : undefined,
    withheld: derivable ? undefined : withheld,
    notes: notes.length > 0 ? notes : undefined,
    messageId,
  }
  return Object.values(details).some((value) => value !== undefined) ? details : undefined
}

const toAttemptRow = (attempt: Attempt): AttemptRow => ({
  number: attempt.number,
  started_at: attempt.startedAt,
  execution_ms: attempt.executionTime,
  cost_usd: attempt.cost,
  ...usageColumns(attempt.usage),
  aborted: attempt.aborted,
  possibly_double_billed: attempt.possiblyDoubleBilled,
  simulated: attempt.simulated,
  provider: attempt.provider,
  model: attempt.model,
  cost_source: attempt.costSource,
  prices_date: attempt.pricesDate,
  error: attempt.error,
})

type Nullable<Fields> = { readonly [Name in keyof Fields]: Exclude<Fields[Name], undefined> | null }

interface UsageFields {
  readonly input_tokens: number | null
  readonly cached_input_tokens: number | null
  readonly cache_write_tokens: number | null
  readonly output_tokens: number | null
  readonly reasoning_tokens: number | null
  readonly total_tokens: number | null
  readonly usage_source: Usage['source'] | null
}

/** A row of `STEP_RESULTS_SQL`. */
export interface StepResultRecord extends UsageFields {
  readonly step_id: string
  readonly iteration: number
  readonly sample: number
  readonly started_at: Date
  readonly completed_at: Date
  readonly execution_ms: number
  readonly cost_usd: number | null
  readonly retry_count: number
  readonly simulated: boolean
  readonly status: StepResult['status']
  readonly provider: string
  readonly model: string
  readonly requested_model: string | null
  readonly action: StepResult['action']
  readonly cost_source: NonNullable<StepResult['costSource']> | null
  readonly finish_reason: NonNullable<StepResult['finishReason']> | null
  readonly output: string | null
  readonly error: NonNullable<StepResult['error']> | null
  readonly details: Details | null
  readonly attempts: readonly AttemptRecord[] | null
}

interface AttemptRecord extends UsageFields, Nullable<Pick<Required<Attempt>, 'error'>> {
  readonly number: number
  readonly started_ms: number
  readonly execution_ms: number
  readonly cost_usd: number | null
  readonly aborted: boolean
  readonly possibly_double_billed: boolean | null
  readonly simulated: boolean
  readonly provider: string
  readonly model: string
  readonly cost_source: NonNullable<Attempt['costSource']> | null
  readonly prices_date: string | null
}

/** Results with their attempts in one round trip. `$1`: flow id, `$2`: whether single samples are wanted too, `$3`: ids of steps, or null for all. */
export const STEP_RESULTS_SQL = `select r.*, (
  select json_agg(json_build_object('number', a.number, 'started_ms', extract(epoch from a.started_at) * 1000, 'execution_ms', a.execution_ms,
    'cost_usd', a.cost_usd, 'input_tokens', a.input_tokens, 'cached_input_tokens', a.cached_input_tokens, 'cache_write_tokens', a.cache_write_tokens,
    'output_tokens', a.output_tokens, 'reasoning_tokens', a.reasoning_tokens, 'total_tokens', a.total_tokens, 'usage_source', a.usage_source,
    'aborted', a.aborted, 'possibly_double_billed', a.possibly_double_billed, 'simulated', a.simulated, 'provider', a.provider, 'model', a.model,
    'cost_source', a.cost_source, 'prices_date', a.prices_date, 'error', a.error) order by a.number)
  from polyphony_step_attempts a
  where a.flow_id = r.flow_id and a.step_id = r.step_id and a.iteration = r.iteration and a.sample = r.sample) as attempts
from polyphony_step_results r where r.flow_id = $1 and (r.sample = 0 or $2)
and ($3::text[] is null or r.step_id = any($3)) order by r.recorded`

function fromUsageFields(row: UsageFields): Usage | undefined {
  if (row.usage_source === null) return undefined
  return {
    ...present({
      inputTokens: row.input_tokens,
      cachedInputTokens: row.cached_input_tokens,
      cacheWriteTokens: row.cache_write_tokens,
      outputTokens: row.output_tokens,
      reasoningTokens: row.reasoning_tokens,
      totalTokens: row.total_tokens,
    }),
    source: row.usage_source,
  }
}

const fromAttemptRecord = (row: AttemptRecord): Attempt => ({
  number: row.number,
  provider: row.provider,
  model: row.model,
  startedAt: new Date(row.started_ms),
  executionTime: row.execution_ms,
  aborted: row.aborted,
  simulated: row.simulated,
  ...present({
    usage: fromUsageFields(row),
    cost: row.cost_usd,
    costSource: row.cost_source,
    pricesDate: row.prices_date,
    error: row.error,
    possiblyDoubleBilled: row.possibly_double_billed,
  }),
})

export function fromStepResultRecord(flowId: string, row: StepResultRecord): StepResult {
  const key = { stepId: row.step_id, iteration: row.iteration, sample: row.sample }
  const { sharing = [], withheld, notes = [], ...details }: Details = row.details ?? {}
  const known = present({ usage: fromUsageFields(row), cost: row.cost_usd })
  const told = { provider: row.provider, model: row.model, action: row.action, ...known, retryCount: row.retry_count }
  return {
    id: stepResultId(flowId, key),
    flowId,
    ...key,
    status: row.status,
    requestedModel: row.requested_model ?? row.model,
    ...told,
    ...present({ output: row.output, finishReason: row.finish_reason, costSource: row.cost_source, error: row.error }),
    ...details,
    sharing,
    withheld: withheld ?? sharing.filter((decision) => !decision.allowed),
    notes,
    executionTime: row.execution_ms,
    attempts: (row.attempts ?? []).map(fromAttemptRecord),
    startedAt: row.started_at,
    completedAt: row.completed_at,
    executedAt: row.completed_at,
    metadata: told,
    simulated: row.simulated,
  }
}
