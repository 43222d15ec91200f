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
  type UsageRow,
} from '../../columns/step-columns.ts'
import { selectList } from '../column-sql.ts'
import { type JsonRow, omitNulls, pickNonNull, writeFields } from '../rows.ts'

type TokenProperty = Exclude<keyof typeof USAGE_COLUMNS, 'usageSource'>
type AttemptFact = Exclude<keyof Attempt, 'usage'>

const isToken = (field: Field<string>): field is Field<TokenProperty> =>
  field.property in USAGE_COLUMNS && field.property !== 'usageSource'
const isAttemptFact = (field: Field<string>): field is Field<AttemptFact> => !(field.property in USAGE_COLUMNS)
// Columns that hold something else than the property of a result, or come from elsewhere.
const CONVERTED = new Set<string>(['flowId', 'recorded', 'requestedModel', 'details', ...Object.keys(USAGE_COLUMNS)])
const isResultFact = (field: Field<string>): field is Field<StepResultFact> => !CONVERTED.has(field.property)

const TOKEN_FIELDS = fieldsOf(USAGE_COLUMNS).filter(isToken)
const ATTEMPT_FIELDS = fieldsOf(ATTEMPT_COLUMNS).filter(isAttemptFact)
const RESULT_FIELDS = fieldsOf(STEP_RESULT_COLUMNS).filter(isResultFact)

const propertiesOf = <Property extends string>(fields: readonly Field<Property>[]) => fields.map(({ property }) => property)
const TOKEN_PROPERTIES = propertiesOf(TOKEN_FIELDS)
const ATTEMPT_PROPERTIES = propertiesOf(ATTEMPT_FIELDS)
const RESULT_PROPERTIES = propertiesOf(RESULT_FIELDS)

export function toStepResultRow(flowId: string, result: StepResult, recorded: number): JsonRow {
  const row: JsonRow = { flow_id: flowId, recorded, details: toDetails(result) }
  writeFields(row, RESULT_FIELDS, result)
  writeUsage(row, result.usage)
  row.requested_model = result.requestedModel === result.model ? undefined : result.requestedModel
  row.attempts = result.attempts.length > 0 ? result.attempts.map(toAttemptRow) : undefined
  return row
}

function toAttemptRow(attempt: Attempt): JsonRow {
  const row: JsonRow = {}
  writeFields(row, ATTEMPT_FIELDS, attempt)
  writeUsage(row, attempt.usage)
  return row
}

function writeUsage(row: JsonRow, usage: Usage | undefined): void {
  if (!usage) return
  writeFields(row, TOKEN_FIELDS, usage)
  row.usage_source = usage.source
}

function toDetails(result: StepResult): StepDetails | undefined {
  const { parsed, refusal, reasoning, sources, samples, sharing, withheld, notes, messageId } = result
  // `withheld` repeats the refused decisions of `sharing`: it is stored only where it does not.
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
 * Results with their attempts in one round trip. `$1`: flow id, `$2`: whether the samples of a step are wanted beside its joined
 * result, `$3`: ids of steps, or null for all.
 */
export const STEP_RESULTS_SQL = `select ${selectList(selectedFields, 'r')}, (
  select json_agg(json_build_object(${attemptJson}) order by a.number)
  from polyphony_step_attempts a
  where a.flow_id = r.flow_id and a.step_id = r.step_id and a.iteration = r.iteration and a.sample = r.sample) as attempts
from polyphony_step_results r where r.flow_id = $1 and (r.sample = 0 or $2)
and ($3::text[] is null or r.step_id = any($3)) order by r.recorded`

const fromUsageColumns = (row: UsageRow): { readonly usage?: Usage } =>
  row.usageSource === null ? {} : { usage: { ...pickNonNull(row, TOKEN_PROPERTIES), source: row.usageSource } }

const fromAttempt = (row: SelectedAttempt): Attempt => ({
  ...pickNonNull(row, ATTEMPT_PROPERTIES),
  startedAt: new Date(row.startedAt),
  ...fromUsageColumns(row),
})

export function fromStepResultRow(flowId: string, row: SelectedStepResult): StepResult {
  const { provider, model, action, retryCount } = row
  const { sharing = [], withheld, notes = [], ...details }: StepDetails = row.details ?? {}
  const usage = fromUsageColumns(row)
  return {
    id: stepResultId(flowId, row),
    flowId,
    ...pickNonNull(row, RESULT_PROPERTIES),
    ...usage,
    requestedModel: row.requestedModel ?? model,
    ...details,
    sharing,
    withheld: withheld ?? sharing.filter((decision) => !decision.allowed),
    notes,
    attempts: (row.attempts ?? []).map(fromAttempt),
    executedAt: row.completedAt,
    metadata: { provider, model, action, retryCount, ...usage, ...omitNulls({ cost: row.cost }) },
  }
}
