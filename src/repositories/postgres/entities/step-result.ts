import { EntitySchema } from 'typeorm'

export interface StepResultRow {
  readonly flowId: string
  readonly stepId: string
  readonly iteration: number
  readonly sample: number
  readonly recorded: string
  readonly startedAt: Date
  readonly completedAt: Date
  readonly executionMs: number
  readonly costUsd: number | null
  readonly retryCount: number
  readonly inputTokens: number | null
  readonly cachedInputTokens: number | null
  readonly cacheWriteTokens: number | null
  readonly outputTokens: number | null
  readonly reasoningTokens: number | null
  readonly totalTokens: number | null
  readonly simulated: boolean
  readonly status: string
  readonly provider: string
  readonly model: string
  readonly requestedModel: string | null
  readonly action: string
  readonly usageSource: string | null
  readonly costSource: string | null
  readonly finishReason: string | null
  readonly output: string | null
  readonly error: unknown
  readonly details: unknown
}

const primaryKeyConstraintName = 'polyphony_step_results_pkey'

/** The outcome of a step in one iteration and sample (S4-131, S4-132). `recorded` keeps the order; `details` is what is seldom there. */
export const StepResultEntity = new EntitySchema<StepResultRow>({
  name: 'PolyphonyStepResult',
  tableName: 'polyphony_step_results',
  columns: {
    flowId: { type: 'uuid', name: 'flow_id', primary: true, primaryKeyConstraintName },
    stepId: { type: 'text', name: 'step_id', primary: true, primaryKeyConstraintName },
    iteration: { type: 'integer', primary: true, primaryKeyConstraintName },
    sample: { type: 'integer', primary: true, primaryKeyConstraintName },
    recorded: { type: 'bigint' },
    startedAt: { type: 'timestamptz', name: 'started_at' },
    completedAt: { type: 'timestamptz', name: 'completed_at' },
    executionMs: { type: 'double precision', name: 'execution_ms' },
    costUsd: { type: 'double precision', name: 'cost_usd', nullable: true },
    retryCount: { type: 'integer', name: 'retry_count' },
    inputTokens: { type: 'integer', name: 'input_tokens', nullable: true },
    cachedInputTokens: { type: 'integer', name: 'cached_input_tokens', nullable: true },
    cacheWriteTokens: { type: 'integer', name: 'cache_write_tokens', nullable: true },
    outputTokens: { type: 'integer', name: 'output_tokens', nullable: true },
    reasoningTokens: { type: 'integer', name: 'reasoning_tokens', nullable: true },
    totalTokens: { type: 'integer', name: 'total_tokens', nullable: true },
    simulated: { type: 'boolean' },
    status: { type: 'text' },
    provider: { type: 'text' },
    model: { type: 'text' },
    requestedModel: { type: 'text', name: 'requested_model', nullable: true },
    action: { type: 'text' },
    usageSource: { type: 'text', name: 'usage_source', nullable: true },
    costSource: { type: 'text', name: 'cost_source', nullable: true },
    finishReason: { type: 'text', name: 'finish_reason', nullable: true },
    output: { type: 'text', nullable: true },
    error: { type: 'json', nullable: true },
    details: { type: 'json', nullable: true },
  },
})
