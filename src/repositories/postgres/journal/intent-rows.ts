import type { CallIntent } from '../../../domain/execution/call-intent.ts'
import { fieldsOf } from '../../columns/column.ts'
import { INTENT_COLUMNS, type IntentRow } from '../../columns/intent-columns.ts'
import { selectList } from '../column-sql.ts'
import { type JsonRow, pickNonNull } from '../rows.ts'

export type IntentJson = JsonRow<typeof INTENT_COLUMNS, IntentRow, keyof typeof INTENT_COLUMNS>

export const toIntentJson = (flowId: string, intent: CallIntent): IntentJson => ({
  flow_id: flowId,
  path: intent.path,
  iteration: intent.iteration,
  sample: intent.sample,
  number: intent.number,
  started_at: intent.startedAt,
  input_tokens: intent.inputTokens,
  output_tokens: intent.outputTokens,
  cost_usd: intent.cost,
  simulated: intent.simulated,
  provider: intent.provider,
  model: intent.model,
  idempotency_key: intent.idempotencyKey,
})

const SELECTED_FIELDS = fieldsOf(INTENT_COLUMNS).filter(({ property }) => property !== 'flowId')
const SELECTED_PROPERTIES = SELECTED_FIELDS.map(({ property }) => property)

export type SelectedIntent = IntentRow

/** `$1`: flow id. */
export const INTENTS_SQL = `select ${selectList(SELECTED_FIELDS)} from polyphony_call_intents
where flow_id = $1 order by path, iteration, sample, number`

export const fromIntentRow = (row: SelectedIntent): CallIntent => pickNonNull(row, SELECTED_PROPERTIES, {})
