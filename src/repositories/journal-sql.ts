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

const stepKey = { flow_id: 'uuid', step_id: 'text', iteration: 'int', sample: 'int' } as const

const definitionColumns = { hash: 'text', json: 'text', version: 'text', is_data: 'bool' } as const

const flowColumns = {
  id: 'uuid',
  thread_id: 'text',
  user_id: 'text',
  name: 'text',
  description: 'text',
  flow_type: 'text',
  definition_hash: 'text',
  parent_flow_id: 'uuid',
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

const updateColumns = { flow_id: 'uuid', last_seq: 'int', batch: 'json' } as const

/** What each part's rows look like; the JSON sent for a part is an array of these. */
export type JournalRow<Part extends JournalPart> = { readonly [Column in keyof (typeof PART_COLUMNS)[Part]]?: unknown }

const PART_COLUMNS = {
  definitions: definitionColumns,
  flows: flowColumns,
  claims: { flow_id: 'uuid', allowed: 'text[]', owner_id: 'text', started_at: 'timestamptz', input: 'text', metadata: 'json' },
  entries: { flow_id: 'uuid', epoch: 'int' },
  outcomes: {
    flow_id: 'uuid',
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
    .map((column) => `${column} = r.${column}`)
    .join(', ')

const sameKey = (table: string, key: readonly string[]) => key.map((column) => `${table}.${column} = r.${column}`).join(' and ')

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
  // Of JSON Postgres expects 100 rows and would read whole tables to join them. A comparison it knows nothing about makes it expect one, so it takes the index.
  const flowRows = (part: JournalPart, condition = '') =>
    `${part} as (select * from ${rows(part, 'r')} where r.flow_id::text = r.flow_id::text || ''${condition})`
  const heldRows = (part: JournalPart) => flowRows(part, ' and r.flow_id in (select id from held)')
  // Not "on conflict do nothing", for which Postgres logs every row once more. The fence keeps other writers of the flow out.
  const insertMissing = (part: JournalPart, table: string, key: readonly string[]) => `${part}_written as (
  insert into ${table} (${names(PART_COLUMNS[part])}) select ${names(PART_COLUMNS[part])} from ${part} r
  where not exists (select from ${table} t where ${sameKey('t', key)}))`

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
      flowRows('claims'),
      `claimed as (
  update polyphony_flows f set owner_epoch = f.owner_epoch + 1, started_at = c.started_at, completed_at = null, status = 'RUNNING',
    owner_id = c.owner_id, input = c.input, metadata = coalesce(c.metadata, f.metadata), result = null, error = null
  from claims c where f.id = c.flow_id and f.status = any(c.allowed) returning f.id, f.owner_epoch, f.owner_id)`,
      `claims_written as (
  insert into polyphony_flow_claims (flow_id, owner_id) select id, owner_id from claimed
  on conflict (flow_id) do update set owner_id = excluded.owner_id)`,
    )
    replies.push(
      `select 'claimed', id, owner_epoch, null, null, null::timestamptz from claimed`,
      `select 'refused', f.id, f.owner_epoch, f.status, f.owner_id, f.started_at from polyphony_flows f
  where f.id in (select flow_id from claims except select id from claimed)`,
    )
  }
  if (has('entries')) {
    ctes.push(
      flowRows('entries'),
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
      flowRows('outcomes'),
      `finished as (
  update polyphony_flows f set simulated = o.simulated, completed_at = o.completed_at, status = o.status, result = o.result, error = o.error
  from outcomes o where f.id = o.flow_id and f.owner_epoch = o.epoch returning f.id)`,
      `claims_ended as (delete from polyphony_flow_claims c using finished where c.flow_id = finished.id)`,
    )
    held.push('select id from finished')
    replies.push(
      `select 'lost', flow_id, null::int, null, null, null::timestamptz from outcomes where flow_id not in (select id from finished)`,
    )
  }
  if (held.length > 0) ctes.push(`held as (${held.join(' union all ')})`)
  if (has('results')) {
    ctes.push(
      heldRows('results'),
      `results_replaced as (
  update polyphony_step_results t set ${replaced(resultColumns)} from results r
  where ${sameKey('t', Object.keys(stepKey))} and t.status <> 'SUCCESS')`,
      insertMissing('results', 'polyphony_step_results', Object.keys(stepKey)),
    )
  }
  if (has('attempts')) {
    ctes.push(heldRows('attempts'), insertMissing('attempts', 'polyphony_step_attempts', [...Object.keys(stepKey), 'number']))
  }
  if (has('updates')) ctes.push(heldRows('updates'), insertMissing('updates', 'polyphony_flow_updates', ['flow_id', 'last_seq']))
  const reply = replies.length > 0 ? replies.join('\nunion all ') : `select '', null, null, null, null, null where false`
  return `with ${ctes.join(',\n')}\n${reply}`
}
