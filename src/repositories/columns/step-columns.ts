import type { Attempt, StepKey, StepResult } from '../../domain/execution/step-result.ts'
import type { Usage } from '../../domain/execution/usage.ts'
import type { Column, ColumnsOf, RowOf } from './column.ts'

/** The key of a result. */
export interface StepKeyRow extends StepKey {
  readonly flowId: string
}

export const STEP_KEY_COLUMNS = {
  flowId: { name: 'flow_id', type: 'uuid', primary: true },
  path: { name: 'path', type: 'text', primary: true },
  iteration: { name: 'iteration', type: 'integer', primary: true },
  sample: { name: 'sample', type: 'integer', primary: true },
} as const satisfies ColumnsOf<StepKeyRow>

/** Usage in the rows of results and of attempts; all columns are null if it is undefined. */
export interface UsageColumnValues extends RowOf<{ readonly [Figure in Exclude<keyof Usage, 'source'>]?: number }> {
  readonly usageSource: Usage['source'] | null
}

// Read as `float8`, which is rounded when it is stored. As an integer, a fraction would make Postgres refuse the whole
// write.
const tokens = <const Name extends string>(name: Name) =>
  ({ name, type: 'integer', jsonType: 'float8', nullable: true }) as const satisfies Column

export const USAGE_COLUMNS = {
  inputTokens: tokens('input_tokens'),
  cachedInputTokens: tokens('cached_input_tokens'),
  cacheWriteTokens: tokens('cache_write_tokens'),
  outputTokens: tokens('output_tokens'),
  reasoningTokens: tokens('reasoning_tokens'),
  totalTokens: tokens('total_tokens'),
  usageSource: { name: 'usage_source', type: 'text', nullable: true },
} as const satisfies ColumnsOf<UsageColumnValues>

/**
 * Properties that few results have, or that are only read together; they share one JSON column. Empty lists are left
 * out.
 */
export interface StepDetails
  extends Pick<
      StepResult,
      | 'parsed'
      | 'refusal'
      | 'reasoning'
      | 'sources'
      | 'samples'
      | 'messageId'
      | 'writers'
      | 'origins'
      | 'files'
      | 'turns'
      | 'toolCalls'
    >,
    Partial<Pick<StepResult, 'sharing' | 'withheld' | 'notes'>> {}

/** Properties of a result that its row holds under the same name and with the same value. */
export type StepResultFact = Exclude<
  keyof StepResult,
  keyof StepDetails | 'id' | 'flowId' | 'stepId' | 'usage' | 'attempts' | 'requestedModel' | 'executedAt' | 'metadata'
>

/** The outcome of a step in one iteration and sample. `recorded` keeps the order in which results were written. */
export type StepResultRow = StepKeyRow &
  RowOf<Pick<StepResult, StepResultFact>> &
  UsageColumnValues & {
    readonly recorded: string
    /** Null if the requested model answered. */
    readonly requestedModel: string | null
    readonly details: StepDetails | null
  }

export const STEP_RESULT_COLUMNS = {
  ...STEP_KEY_COLUMNS,
  recorded: { name: 'recorded', type: 'bigint' },
  startedAt: { name: 'started_at', type: 'timestamptz' },
  completedAt: { name: 'completed_at', type: 'timestamptz' },
  executionTime: { name: 'execution_ms', type: 'double precision' },
  cost: { name: 'cost_usd', type: 'double precision', nullable: true },
  retryCount: { name: 'retry_count', type: 'integer' },
  ...USAGE_COLUMNS,
  simulated: { name: 'simulated', type: 'boolean' },
  status: { name: 'status', type: 'text' },
  provider: { name: 'provider', type: 'text' },
  model: { name: 'model', type: 'text' },
  requestedModel: { name: 'requested_model', type: 'text', nullable: true },
  action: { name: 'action', type: 'text' },
  costSource: { name: 'cost_source', type: 'text', nullable: true },
  finishReason: { name: 'finish_reason', type: 'text', nullable: true },
  output: { name: 'output', type: 'text', nullable: true },
  error: { name: 'error', type: 'json', nullable: true },
  details: { name: 'details', type: 'json', nullable: true },
} as const satisfies ColumnsOf<StepResultRow>

/** One row of the cost ledger, of which every total is a sum. */
export type AttemptRow = StepKeyRow & RowOf<Omit<Attempt, 'usage'>> & UsageColumnValues

/** Columns of an attempt beyond the key of its result. */
export const ATTEMPT_COLUMNS = {
  number: { name: 'number', type: 'integer', primary: true },
  startedAt: { name: 'started_at', type: 'timestamptz' },
  executionTime: { name: 'execution_ms', type: 'double precision' },
  cost: { name: 'cost_usd', type: 'double precision', nullable: true },
  ...USAGE_COLUMNS,
  aborted: { name: 'aborted', type: 'boolean' },
  possiblyDoubleBilled: { name: 'possibly_double_billed', type: 'boolean', nullable: true },
  cached: { name: 'cached', type: 'boolean', nullable: true },
  simulated: { name: 'simulated', type: 'boolean' },
  provider: { name: 'provider', type: 'text' },
  model: { name: 'model', type: 'text' },
  costSource: { name: 'cost_source', type: 'text', nullable: true },
  pricesDate: { name: 'prices_date', type: 'text', nullable: true },
  error: { name: 'error', type: 'json', nullable: true },
} as const satisfies ColumnsOf<Omit<AttemptRow, keyof StepKeyRow>>
