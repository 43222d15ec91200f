import type { FlowStatus } from '../domain/flow.ts'

/** Kinds of writes one statement may carry, as bits: each combination that occurs is its own prepared statement. */
export const JOURNAL_PART = {
  definitions: 1,
  flows: 2,
  claims: 4,
  entries: 8,
  outcomes: 16,
  results: 32,
  attempts: 64,
  updates: 128,
} as const
export type JournalPart = keyof typeof JOURNAL_PART
export const JOURNAL_PARTS = ['definitions', 'flows', 'claims', 'entries', 'outcomes', 'results', 'attempts', 'updates'] as const

/** One row of the reply: `kind`, flow id, epoch, status, owner, start of the run. */
export type JournalReplyRow = readonly [
  kind: 'exists' | 'claimed' | 'refused' | 'lost',
  flowId: string,
  epoch: number | null,
  status: FlowStatus | null,
  ownerId: string | null,
  startedAt: Date | null,
]

type Columns = Readonly<Record<string, string>>

const usage = {
  input_tokens: 'float8',
  cached_input_tokens: 'float8',
  cache_write_tokens: 'float8',
  output_tokens: 'float8',
  reasoning_tokens: 'float8',
  total_tokens: 'float8',
  usage_source: 'text',
} as const

const stepKey = { flow_id: 'text', step_id: 'text', iteration: 'int', sample: 'int' } as const

const definitionColumns = { hash: 'text', json: 'text', version: 'text', is_data: 'bool' } as const

const flowColumns = {
  id: 'text',
  thread_id: 'text',
  user_id: 'text',
  name: 'text',
  description: 'text',
  flow_type: 'text',
  definition_hash: 'text',
  parent_flow_id: 'text',
  created_at: 'timestamptz',
  schema_version: 'int2',
  simulated: 'bool',
  input: 'text',
  metadata: 'json',
} as const

const resultColumns = {
  ...stepKey,
  recorded: 'int8',
  started_at: 'timestamptz',
  completed_at: 'timestamptz',
  execution_ms: 'float8',
  cost_usd: 'float8',
  retry_count: 'int',
  ...usage,
  simulated: 'bool',
  status: 'text',
  provider: 'text',
  model: 'text',
  requested_model: 'text',
  action: 'text',
  cost_source: 'text',
  finish_reason: 'text',
  output: 'text',
  error: 'json',
  details: 'json',
} as const

const attemptColumns = {
  ...stepKey,
  number: 'int',
  started_at: 'timestamptz',
  execution_ms: 'float8',
  cost_usd: 'float8',
  ...usage,
  aborted: 'bool',
  possibly_double_billed: 'bool',
  simulated: 'bool',
  provider: 'text',
  model: 'text',
  cost_source: 'text',
  prices_date: 'text',
  error: 'json',
} as const

const updateColumns = { flow_id: 'text', last_seq: 'int', batch: 'json' } as const

/** What each part's rows look like; the JSON sent for a part is an array of these. */
export type JournalRow<Part extends JournalPart> = { readonly [Column in keyof (typeof PART_COLUMNS)[Part]]?: unknown }

const PART_COLUMNS = {
  definitions: definitionColumns,
  flows: flowColumns,
  claims: { flow_id: 'text', allowed: 'text[]', owner_id: 'text', started_at: 'timestamptz', input: 'text', metadata: 'json' },
  entries: { flow_id: 'text', epoch: 'int' },
  outcomes: {
    flow_id: 'text',
    epoch: 'int',
    simulated: 'bool',
    completed_at: 'timestamptz',
    status: 'text',
    result: 'json',
    error: 'json',
  },
  results: resultColumns,
  attempts: attemptColumns,
  updates: updateColumns,
} as const satisfies Record<JournalPart, Columns>

const names = (columns: Columns) => Object.keys(columns).join(', ')

const replaced = (columns: Columns) =>
  Object.keys(columns)
    .filter((column) => !(column in stepKey))
    .map((column) => `${column} = excluded.${column}`)
    .join(', ')

/**
 * The text of one statement for the given parts; `$n` is the n-th part's JSON. All parts see one snapshot, so they must not touch the same flow but for
 * `entries`, `results`, `attempts` and `updates` of one flow, or `outcomes` in place of `entries`.
 */
export function journalSql(mask: number): string {
  const parts = JOURNAL_PARTS.filter((part) => mask & JOURNAL_PART[part])
  const has = (part: JournalPart) => parts.includes(part)
  const rows = (part: JournalPart, alias: string) => {
    const columns = Object.entries(PART_COLUMNS[part]).map(([column, type]) => `${column} ${type}`)
    return `json_to_recordset($${parts.indexOf(part) + 1}::json) as ${alias}(${columns.join(', ')})`
  }
  const insert = (part: JournalPart, table: string, columns: Columns, conflict: string) => `${part}_written as (
  insert into ${table} (${names(columns)}) select ${names(columns)} from ${rows(part, 'r')}
  where r.flow_id in (select id from held) on conflict ${conflict})`

  const ctes: string[] = []
  const held: string[] = []
  const replies: string[] = []
  if (has('definitions')) {
    ctes.push(`definitions_written as (
  insert into polyphony_flow_definitions (${names(definitionColumns)}) select * from ${rows('definitions', 'r')}
  on conflict (hash) do nothing)`)
  }
  if (has('flows')) {
    ctes.push(
      `flows_given as (select * from ${rows('flows', 'r')})`,
      `flows_written as (
  insert into polyphony_flows (${names(flowColumns)}) select * from flows_given on conflict (id) do nothing returning id)`,
    )
    replies.push(
      `select 'exists', id, null::int, null, null, null::timestamptz from flows_given where id not in (select id from flows_written)`,
    )
    held.push('select id from flows_written')
  }
  if (has('claims')) {
    ctes.push(
      `claims as (select * from ${rows('claims', 'r')})`,
      `claimed as (
  update polyphony_flows f set owner_epoch = f.owner_epoch + 1, started_at = c.started_at, completed_at = null, status = 'RUNNING',
    owner_id = c.owner_id, input = c.input, metadata = coalesce(c.metadata, f.metadata), result = null, error = null
  from claims c where f.id = c.flow_id and f.status = any(c.allowed) returning f.id, f.owner_epoch)`,
    )
    replies.push(
      `select 'claimed', id, owner_epoch, null, null, null::timestamptz from claimed`,
      `select 'refused', f.id, f.owner_epoch, f.status, f.owner_id, f.started_at from polyphony_flows f
  where f.id in (select flow_id from claims except select id from claimed)`,
    )
  }
  if (has('entries')) {
    ctes.push(
      `entries as (select * from ${rows('entries', 'r')})`,
      `locked as (
  select f.id from polyphony_flows f join entries e on f.id = e.flow_id and f.owner_epoch = e.epoch for share of f)`,
    )
    held.push('select id from locked')
    replies.push(
      `select 'lost', flow_id, null::int, null, null, null::timestamptz from entries where flow_id not in (select id from locked)`,
    )
  }
  if (has('outcomes')) {
    ctes.push(
      `outcomes as (select * from ${rows('outcomes', 'r')})`,
      `finished as (
  update polyphony_flows f set simulated = o.simulated, completed_at = o.completed_at, status = o.status, result = o.result, error = o.error
  from outcomes o where f.id = o.flow_id and f.owner_epoch = o.epoch returning f.id)`,
    )
    held.push('select id from finished')
    replies.push(
      `select 'lost', flow_id, null::int, null, null, null::timestamptz from outcomes where flow_id not in (select id from finished)`,
    )
  }
  if (held.length > 0) ctes.push(`held as (${held.join(' union all ')})`)
  if (has('results')) {
    const success = `where polyphony_step_results.status <> 'SUCCESS'`
    const conflict = `(${names(stepKey)}) do update set ${replaced(resultColumns)} ${success}`
    ctes.push(insert('results', 'polyphony_step_results', resultColumns, conflict))
  }
  if (has('attempts')) ctes.push(insert('attempts', 'polyphony_step_attempts', attemptColumns, 'do nothing'))
  if (has('updates')) ctes.push(insert('updates', 'polyphony_flow_updates', updateColumns, 'do nothing'))
  const reply = replies.length > 0 ? replies.join('\nunion all ') : `select '', '', null, null, null, null where false`
  return `with ${ctes.join(',\n')}\n${reply}`
}
