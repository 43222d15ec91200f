import { EntitySchema } from 'typeorm'

export interface StepAttemptRow {
  readonly flowId: string
  readonly stepId: string
  readonly iteration: number
  readonly sample: number
  readonly number: number
  readonly startedAt: Date
  readonly executionMs: number
  readonly costUsd: number | null
  readonly inputTokens: number | null
  readonly cachedInputTokens: number | null
  readonly cacheWriteTokens: number | null
  readonly outputTokens: number | null
  readonly reasoningTokens: number | null
  readonly totalTokens: number | null
  readonly aborted: boolean
  readonly possiblyDoubleBilled: boolean | null
  readonly simulated: boolean
  readonly provider: string
  readonly model: string
  readonly usageSource: string | null
  readonly costSource: string | null
  readonly pricesDate: string | null
  readonly error: unknown
}

const primaryKeyConstraintName = 'polyphony_step_attempts_pkey'

/** The cost ledger: one row per try. Totals are sums of these rows. */
export const StepAttemptEntity = new EntitySchema<StepAttemptRow>({
  name: 'PolyphonyStepAttempt',
  tableName: 'polyphony_step_attempts',
  columns: {
    flowId: { type: 'uuid', name: 'flow_id', primary: true, primaryKeyConstraintName },
    stepId: { type: 'text', name: 'step_id', primary: true, primaryKeyConstraintName },
    iteration: { type: 'integer', primary: true, primaryKeyConstraintName },
    sample: { type: 'integer', primary: true, primaryKeyConstraintName },
    number: { type: 'integer', primary: true, primaryKeyConstraintName },
    startedAt: { type: 'timestamptz', name: 'started_at' },
    executionMs: { type: 'double precision', name: 'execution_ms' },
    costUsd: { type: 'double precision', name: 'cost_usd', nullable: true },
    inputTokens: { type: 'integer', name: 'input_tokens', nullable: true },
    cachedInputTokens: { type: 'integer', name: 'cached_input_tokens', nullable: true },
    cacheWriteTokens: { type: 'integer', name: 'cache_write_tokens', nullable: true },
    outputTokens: { type: 'integer', name: 'output_tokens', nullable: true },
    reasoningTokens: { type: 'integer', name: 'reasoning_tokens', nullable: true },
    totalTokens: { type: 'integer', name: 'total_tokens', nullable: true },
    aborted: { type: 'boolean' },
    possiblyDoubleBilled: { type: 'boolean', name: 'possibly_double_billed', nullable: true },
    simulated: { type: 'boolean' },
    provider: { type: 'text' },
    model: { type: 'text' },
    usageSource: { type: 'text', name: 'usage_source', nullable: true },
    costSource: { type: 'text', name: 'cost_source', nullable: true },
    pricesDate: { type: 'text', name: 'prices_date', nullable: true },
    error: { type: 'json', nullable: true },
  },
})
