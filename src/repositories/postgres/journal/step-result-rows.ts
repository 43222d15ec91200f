import { stepIdOf } from '../../../domain/execution/step-path.ts'
import type { Attempt, StepResult } from '../../../domain/execution/step-result.ts'
import { stepResultId } from '../../../domain/execution/step-result.ts'
import type { Usage } from '../../../domain/execution/usage.ts'
import { type Field, fieldsOf } from '../../columns/column.ts'
import {
  ATTEMPT_COLUMNS,
  type AttemptRow,
  STEP_RESULT_COLUMNS,
  type StepDetails,
  type StepKeyRow,
  type StepResultFact,
  type StepResultRow,
  USAGE_COLUMNS,
  type UsageColumnValues,
} from '../../columns/step-columns.ts'
import { selectList } from '../column-sql.ts'
import { type JsonRow, pickNonNull } from '../rows.ts'

type TokenProperty = Exclude<keyof typeof USAGE_COLUMNS, 'usageSource'>
type AttemptFact = Exclude<keyof Attempt, 'usage' | 'startedAt'>

const isToken = (field: Field<string>): field is Field<TokenProperty> =>
  field.property in USAGE_COLUMNS && field.property !== 'usageSource'
const isAttemptFact = (field: Field<string>): field is Field<AttemptFact> =>
  !(field.property in USAGE_COLUMNS) && field.property !== 'startedAt'
// Columns that do not hold the property of a result unchanged, or do not come from the result.
const CONVERTED = new Set<string>(['flowId', 'recorded', 'requestedModel', 'details', ...Object.keys(USAGE_COLUMNS)])
const isResultFact = (field: Field<string>): field is Field<StepResultFact> => !CONVERTED.has(field.property)

const propertiesOf = <Property extends string>(fields: readonly Field<Property>[]) => fields.map(({ property }) => property)
const TOKEN_PROPERTIES = propertiesOf(fieldsOf(USAGE_COLUMNS).filter(isToken))
const ATTEMPT_PROPERTIES = propertiesOf(fieldsOf(ATTEMPT_COLUMNS).filter(isAttemptFact))
const RESULT_PROPERTIES = propertiesOf(fieldsOf(STEP_RESULT_COLUMNS).filter(isResultFact))
const METADATA_PROPERTIES = ['provider', 'model', 'action', 'cost', 'retryCount'] as const

type UsageJson = JsonRow<typeof USAGE_COLUMNS, UsageColumnValues, keyof typeof USAGE_COLUMNS>
export type AttemptJson = JsonRow<typeof ATTEMPT_COLUMNS, AttemptRow, keyof typeof ATTEMPT_COLUMNS>

export interface StepResultJson
  extends Omit<JsonRow<typeof STEP_RESULT_COLUMNS, StepResultRow, keyof typeof STEP_RESULT_COLUMNS>, 'recorded'> {
  readonly recorded: number
  readonly attempts: readonly AttemptJson[] | undefined
}

// The conversions to JSON are written out: a loop over the table of columns takes twice the time (measured 2026-11).
// The compiler reports a column that is missing.

const toUsageJson = (usage: Usage | undefined): UsageJson => ({
  input_tokens: usage?.inputTokens,
  cached_input_tokens: usage?.cachedInputTokens,
  cache_write_tokens: usage?.cacheWriteTokens,
  output_tokens: usage?.outputTokens,
  reasoning_tokens: usage?.reasoningTokens,
  total_tokens: usage?.totalTokens,
  usage_source: usage?.source,
})

export const toStepResultJson = (flowId: string, result: StepResult, recorded: number): StepResultJson => ({
  flow_id: flowId,
  path: result.path,
  iteration: result.iteration,
  sample: result.sample,
  recorded,
  started_at: result.startedAt,
  completed_at: result.completedAt,
  execution_ms: result.executionTime,
  cost_usd: result.cost,
  retry_count: result.retryCount,
  ...toUsageJson(result.usage),
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
  attempts: result.attempts.length > 0 ? result.attempts.map(toAttemptJson) : undefined,
})

export const toAttemptJson = (attempt: Attempt): AttemptJson => ({
  number: attempt.number,
  started_at: attempt.startedAt,
  execution_ms: attempt.executionTime,
  cost_usd: attempt.cost,
  ...toUsageJson(attempt.usage),
  aborted: attempt.aborted,
  possibly_double_billed: attempt.possiblyDoubleBilled,
  cached: attempt.cached,
  simulated: attempt.simulated,
  provider: attempt.provider,
  model: attempt.model,
  cost_source: attempt.costSource,
  prices_date: attempt.pricesDate,
  error: attempt.error,
})

function toDetails(result: StepResult): StepDetails | undefined {
  const { parsed, refusal, reasoning, sources, samples, sharing, withheld, notes, messageId, writers } = result
  const { origins, files, turns, toolCalls } = result
  // `withheld` usually repeats the refused decisions of `sharing` and is stored only if it differs.
  const refused = sharing.filter((decision) => !decision.allowed)
  const derivable = refused.length === withheld.length && withheld.every((decision, index) => decision === refused[index])
  const details: StepDetails = {
    parsed,
    refusal,
    reasoning,
    sources,
    samples,
    sharing: sharing.length > 0 ? sharing : undefined,
    withheld: derivable ? undefined : withheld,
    notes: notes.length > 0 ? notes : undefined,
    messageId,
    writers,
    origins,
    files,
    turns,
    toolCalls,
  }
  return Object.values(details).some((value) => value !== undefined) ? details : undefined
}

/** A row of `STEP_RESULTS_SQL`. */
export interface SelectedStepResult extends Omit<StepResultRow, 'flowId' | 'recorded'> {
  readonly attempts: readonly SelectedAttempt[] | null
}

/** An attempt as JSON, with its instant in milliseconds since 1970. */
interface SelectedAttempt extends Omit<AttemptRow, keyof StepKeyRow | 'startedAt'> {
  readonly startedAt: number
}

const selectedFields = fieldsOf(STEP_RESULT_COLUMNS).filter(({ property }) => property !== 'flowId' && property !== 'recorded')

const attemptJson = fieldsOf(ATTEMPT_COLUMNS)
  .map(({ property, name }) =>
    property === 'startedAt' ? `'${property}', extract(epoch from a.${name}) * 1000` : `'${property}', a.${name}`,
  )
  .join(', ')

/**
 * Results with their attempts in one round trip. `$1`: flow id, `$2`: whether the samples of a step are wanted beside
 * its joined result, `$3`: paths of steps, or null for all.
 */
export const STEP_RESULTS_SQL = `select ${selectList(selectedFields, 'r')}, (
  select json_agg(json_build_object(${attemptJson}) order by a.number)
  from polyphony_step_attempts a
  where a.flow_id = r.flow_id and a.path = r.path and a.iteration = r.iteration and a.sample = r.sample) as attempts
from polyphony_step_results r where r.flow_id = $1 and (r.sample = 0 or $2)
and ($3::text[] is null or r.path = any($3)) order by r.recorded`

const fromUsageRow = (row: UsageColumnValues): Usage | undefined =>
  row.usageSource === null ? undefined : pickNonNull(row, TOKEN_PROPERTIES, { source: row.usageSource })

function fromAttempt(row: SelectedAttempt): Attempt {
  const usage = fromUsageRow(row)
  return pickNonNull(row, ATTEMPT_PROPERTIES, { startedAt: new Date(row.startedAt), ...(usage && { usage }) })
}

export function fromStepResultRow(flowId: string, row: SelectedStepResult): StepResult {
  const { sharing = [], withheld, notes = [], ...details }: StepDetails = row.details ?? {}
  const usage = fromUsageRow(row)
  const known = usage && { usage }
  return pickNonNull(row, RESULT_PROPERTIES, {
    id: stepResultId(flowId, row),
    flowId,
    stepId: stepIdOf(row.path),
    ...known,
    requestedModel: row.requestedModel ?? row.model,
    ...details,
    sharing,
    withheld: withheld ?? sharing.filter((decision) => !decision.allowed),
    notes,
    attempts: (row.attempts ?? []).map(fromAttempt),
    executedAt: row.completedAt,
    metadata: pickNonNull(row, METADATA_PROPERTIES, { ...known }),
  })
}
