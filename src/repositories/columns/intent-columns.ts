import type { CallIntent } from '../../domain/execution/call-intent.ts'
import type { ColumnsOf, RowOf } from './column.ts'
import { STEP_KEY_COLUMNS } from './step-columns.ts'

/** A call whose outcome is not recorded. The table holds the calls in flight and those that a crash interrupted. */
export type IntentRow = RowOf<CallIntent> & { readonly flowId: string }

export const INTENT_COLUMNS = {
  ...STEP_KEY_COLUMNS,
  number: { name: 'number', type: 'integer', primary: true },
  startedAt: { name: 'started_at', type: 'timestamptz' },
  inputTokens: { name: 'input_tokens', type: 'integer' },
  outputTokens: { name: 'output_tokens', type: 'integer' },
  cost: { name: 'cost_usd', type: 'double precision', nullable: true },
  simulated: { name: 'simulated', type: 'boolean' },
  provider: { name: 'provider', type: 'text' },
  model: { name: 'model', type: 'text' },
  idempotencyKey: { name: 'idempotency_key', type: 'text' },
} as const satisfies ColumnsOf<IntentRow>
