import type { Pool } from 'pg'
import type { UsageFigures, UsageGroup, UsageQuery } from '../../../domain/execution/usage-report.ts'
import { toStorableText } from '../../../domain/storable-text.ts'
import type { ATTEMPT_COLUMNS } from '../../columns/step-columns.ts'
import type { UsageRepository } from '../../repository.ts'
import { guarded } from '../database-errors.ts'
import { canBeFlowId } from '../storable.ts'

interface Grouping {
  /** Columns of the reply, by the properties of `UsageRow`. */
  readonly columns: Readonly<Record<string, string>>
  /** Expressions by which rows are grouped. */
  readonly by: string
}

// A date, because its text is then built once per row of the reply and not once per row of the ledger.
const DAY = "(a.started_at at time zone 'UTC')::date"

const GROUPINGS: { readonly [Group in UsageGroup]: Grouping } = {
  day: { columns: { day: `to_char(${DAY}, 'YYYY-MM-DD')` }, by: DAY },
  provider: { columns: { provider: 'a.provider' }, by: 'a.provider' },
  model: { columns: { model: 'a.model' }, by: 'a.model' },
  flow: { columns: { flowId: 'f.id', flowName: 'f.name' }, by: 'f.id, f.name' },
}

// The SQL form of `domain/execution/cost.ts`: `isBilled`, `isUnpriced` and the sum of `knownCost`. A case of
// `test/contracts/repository-usage.ts` compares both on generated ledgers.
const BILLED = 'not a.simulated and a.usage_source is not null'
const UNPRICED = `${BILLED} and a.cost_usd is null`
type SummedColumn = (typeof ATTEMPT_COLUMNS)[keyof typeof ATTEMPT_COLUMNS]['name']

const count = (condition: string) => `count(*) filter (where ${condition})`
const sum = (column: SummedColumn, condition = 'not a.simulated') => `coalesce(sum(a.${column}) filter (where ${condition}), 0)`

const FIGURES: { readonly [Figure in keyof UsageFigures]: string } = {
  calls: count(BILLED),
  failedCalls: count('not a.simulated and a.usage_source is null'),
  inputTokens: sum('input_tokens'),
  cachedInputTokens: sum('cached_input_tokens'),
  cacheWriteTokens: sum('cache_write_tokens'),
  outputTokens: sum('output_tokens'),
  reasoningTokens: sum('reasoning_tokens'),
  totalTokens: sum('total_tokens'),
  costUsd: sum('cost_usd'),
  unpricedCalls: count(UNPRICED),
  uncountedCalls: count(`${BILLED} and a.total_tokens is null`),
  simulatedCalls: count('a.simulated'),
  simulatedTokens: sum('total_tokens', 'a.simulated'),
}

/** Groups in a fixed order, so that the same groups give the same statement. */
const GROUPS: readonly UsageGroup[] = ['day', 'provider', 'model', 'flow']

function usageSql({ userId, from, to, flowId, groupBy, limit }: UsageQuery): { text: string; values: unknown[] } {
  const groups = GROUPS.filter((group) => groupBy.includes(group))
  const groupings = groups.map((group) => GROUPINGS[group])
  const columns = groupings.flatMap((grouping) => Object.entries(grouping.columns))
  const selected = [
    ...columns.map(([name, text]) => `${text} as "${name}"`),
    // The driver returns double precision as numbers; no sum here exceeds the whole numbers that a double holds
    // exactly.
    ...Object.entries(FIGURES).map(([name, text]) => `(${text})::float8 as "${name}"`),
  ]
  const values: unknown[] = []
  const value = (given: unknown): string => `$${values.push(given)}`
  const conditions = [
    `f.user_id = ${value(toStorableText(userId))}`,
    ...(from ? [`a.started_at >= ${value(from)}`] : []),
    ...(to ? [`a.started_at < ${value(to)}`] : []),
    // Postgres refuses any other text as an id.
    ...(flowId === undefined ? [] : [canBeFlowId(flowId) ? `f.id = ${value(flowId)}` : 'false']),
  ]
  const by = groupings.map((grouping) => grouping.by)
  const newestFirst = groups.includes('day') ? [`${DAY} desc`] : []
  const order = [...newestFirst, `${FIGURES.costUsd} desc`, `${FIGURES.calls} desc`, ...by]
  const grouped = by.length === 0 ? '' : `group by ${by.join(', ')} order by ${order.join(', ')}`
  const text = `select ${selected.join(', ')}
from polyphony_flows f join polyphony_step_attempts a on a.flow_id = f.id
where ${conditions.join(' and ')} ${grouped} limit ${value(limit + 1)}`
  return { text, values }
}

export const createUsageRepository = (pool: Pool): UsageRepository => ({
  sum: guarded(async (query: UsageQuery) => {
    const { text, values } = usageSql(query)
    const { rows } = await pool.query<UsageFigures>(text, values)
    return { rows: rows.slice(0, query.limit), truncated: rows.length > query.limit }
  }),
})
