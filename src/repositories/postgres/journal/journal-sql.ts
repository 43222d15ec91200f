import type { FlowStatus } from '../../../domain/vocabulary.ts'
import { fieldsOf, markedFields } from '../../columns/column.ts'
import { MESSAGE_COLUMNS } from '../../columns/conversation-columns.ts'
import { DEFINITION_COLUMNS, FLOW_COLUMNS, UPDATE_BATCH_COLUMNS } from '../../columns/flow-columns.ts'
import { ATTEMPT_COLUMNS, STEP_KEY_COLUMNS, STEP_RESULT_COLUMNS } from '../../columns/step-columns.ts'
import { type JsonColumns, jsonColumns, jsonColumnsOf, keyColumns } from '../column-sql.ts'
import { CLAIM_FIELDS, CREATE_FIELDS, FINISH_FIELDS } from './flow-rows.ts'

/** Kinds of writes one statement may carry, as bits: each combination that occurs is its own prepared statement. */
export const JOURNAL_PART = {
  definitions: 1,
  flows: 2,
  claims: 4,
  entries: 8,
  outcomes: 16,
  results: 32,
  updates: 64,
  messages: 128,
} as const
export type JournalPart = keyof typeof JOURNAL_PART
export const JOURNAL_STATEMENTS = [
  'definitions',
  'flows',
  'claims',
  'entries',
  'outcomes',
  'results',
  'updates',
  'messages',
] as const

/** What a statement tells of a flow; one JSON column of the reply, because a driver pays for each column of every reply. */
export type JournalReply =
  | readonly [kind: 'exists' | 'threadless' | 'lost', flowId: string]
  | readonly [kind: 'claimed', flowId: string, epoch: number]
  | readonly [
      kind: 'refused',
      flowId: string,
      epoch: number,
      status: FlowStatus,
      ownerId: string | null,
      startedMs: number | null,
    ]

/** Messages that flows add to their thread have no attachments. */
export const JOURNAL_MESSAGE_FIELDS = fieldsOf(MESSAGE_COLUMNS).filter(({ property }) => property !== 'attachments')

const stepKey = jsonColumns(STEP_KEY_COLUMNS)
const definitionColumns = jsonColumns(DEFINITION_COLUMNS)
const flowColumns = jsonColumnsOf(FLOW_COLUMNS, CREATE_FIELDS)
const resultColumns = jsonColumns(STEP_RESULT_COLUMNS)
const attemptColumns = jsonColumns(ATTEMPT_COLUMNS)
const updateColumns = jsonColumns(UPDATE_BATCH_COLUMNS)
const messageColumns = jsonColumnsOf(MESSAGE_COLUMNS, JOURNAL_MESSAGE_FIELDS)

/** Columns of the JSON that is sent for each part. A row of `results` brings its attempts along. */
const PART_COLUMNS: Readonly<Record<JournalPart, JsonColumns>> = {
  definitions: definitionColumns,
  flows: flowColumns,
  claims: { flow_id: 'uuid', allowed: 'text[]', ...jsonColumnsOf(FLOW_COLUMNS, CLAIM_FIELDS) },
  entries: { flow_id: 'uuid', epoch: 'int' },
  outcomes: { flow_id: 'uuid', epoch: 'int', ...jsonColumnsOf(FLOW_COLUMNS, FINISH_FIELDS) },
  results: { ...resultColumns, attempts: 'json' },
  updates: updateColumns,
  messages: { flow_id: 'uuid', ...messageColumns },
}

const KEPT = new Set(markedFields(FLOW_COLUMNS, 'keep').map(({ name }) => name))
/** What a claim sets of a flow `f`, from its row `c`. */
const claimedColumns = [
  'owner_epoch = f.owner_epoch + 1',
  "status = 'RUNNING'",
  ...CLAIM_FIELDS.map(({ name }) => `${name} = ${KEPT.has(name) ? `coalesce(c.${name}, f.${name})` : `c.${name}`}`),
  ...markedFields(FLOW_COLUMNS, 'clear').map(({ name }) => `${name} = null`),
].join(', ')
/** What an outcome sets of a flow, from its row `o`. */
const finishedColumns = FINISH_FIELDS.map(({ name }) => `${name} = o.${name}`).join(', ')

const names = (columns: JsonColumns) => Object.keys(columns).join(', ')
const namesOf = (rows: string, columns: JsonColumns) =>
  Object.keys(columns)
    .map((column) => `${rows}.${column}`)
    .join(', ')
const recordset = (json: string, rows: string, columns: JsonColumns) =>
  `json_to_recordset(${json}) as ${rows}(${Object.entries(columns)
    .map(([column, type]) => `${column} ${type}`)
    .join(', ')})`
const sameKey = (key: JsonColumns) =>
  Object.keys(key)
    .map((column) => `t.${column} = r.${column}`)
    .join(' and ')

const replaced = Object.keys(resultColumns)
  .filter((column) => !(column in stepKey))
  .map((column) => `${column} = r.${column}`)
  .join(', ')

/** What one part adds to the statement. */
interface Fragment {
  readonly ctes: readonly string[]
  /** Selects the ids of flows whose results and updates may be written. */
  readonly held?: string
  /** Selects rows of the reply. */
  readonly reply?: string
}

// Of JSON Postgres expects 100 rows and would read whole tables to join them. A comparison it knows nothing about makes it expect one, so it takes the index.
const expectOne = (column: string) => `${column}::text = ${column}::text || ''`

const lost = (part: JournalPart, kept: string) =>
  `select json_build_array('lost', flow_id) from ${part} where flow_id not in (select id from ${kept})`

// Not "on conflict do nothing", for which Postgres logs every row once more. The fence keeps other writers of the flow out.
const insertMissing = (rows: string, table: string, columns: JsonColumns, key: JsonColumns) => `${rows}_written as (
  insert into ${table} (${names(columns)}) select ${names(columns)} from ${rows} r
  where not exists (select from ${table} t where ${sameKey(key)}))`

// "is true" keeps the condition from becoming a join, which would compare every row with every flow: so it is one lookup in a hash table.
const ofHeldThread = '(r.thread_id in (select id from threads_held)) is true'
const ofHeldFlows = (part: JournalPart, source: string) =>
  `${part} as (select * from ${source} where ${expectOne('r.flow_id')} and (r.flow_id in (select id from held)) is true)`

/** Each part by its rows, which are called `r`. */
const FRAGMENTS: Readonly<Record<JournalPart, (source: string) => Fragment>> = {
  definitions: (source) => ({
    ctes: [
      `definitions_written as (
  insert into polyphony_flow_definitions (${names(definitionColumns)}) select * from ${source} on conflict (hash) do nothing)`,
    ],
  }),

  flows: (source) => ({
    ctes: [
      `flows as (select * from ${source} where ${expectOne('r.id')})`,
      // A locked thread is one that is being deleted. Waiting for it could be a deadlock: the deletion may wait for flows that this statement holds.
      `threads_held as (
  select t.id from polyphony_threads t where t.id in (select thread_id from flows) for key share of t skip locked)`,
      `flows_written as (
  insert into polyphony_flows (${names(flowColumns)}) select * from flows r
  where ${ofHeldThread} and not exists (select from polyphony_flows t where t.id = r.id) returning id)`,
    ],
    held: 'select id from flows_written',
    reply: `select json_build_array(case when ${ofHeldThread} then 'exists' else 'threadless' end, id) from flows r
  where id not in (select id from flows_written)`,
  }),

  claims: (source) => ({
    ctes: [
      `claims as (select * from ${source} where ${expectOne('r.flow_id')})`,
      `claimed as (
  update polyphony_flows f set ${claimedColumns}
  from claims c where f.id = c.flow_id and f.status = any(c.allowed) returning f.id, f.owner_epoch, f.owner_id)`,
      `claims_moved as (update polyphony_flow_claims t set owner_id = r.owner_id from claimed r where t.flow_id = r.id)`,
      `claims_written as (
  insert into polyphony_flow_claims (flow_id, owner_id) select id, owner_id from claimed r
  where not exists (select from polyphony_flow_claims t where t.flow_id = r.id))`,
    ],
    reply: `select json_build_array('claimed', id, owner_epoch) from claimed
union all
select json_build_array('refused', f.id, f.owner_epoch, f.status, f.owner_id, extract(epoch from f.started_at) * 1000) from polyphony_flows f
  where f.id in (select flow_id from claims except select id from claimed)`,
  }),

  entries: (source) => ({
    ctes: [
      `entries as (select * from ${source} where ${expectOne('r.flow_id')})`,
      `locked as (
  select f.id from polyphony_flows f join entries e on f.id = e.flow_id and f.owner_epoch = e.epoch for share of f)`,
    ],
    held: 'select id from locked',
    reply: lost('entries', 'locked'),
  }),

  outcomes: (source) => ({
    ctes: [
      `outcomes as (select * from ${source} where ${expectOne('r.flow_id')})`,
      `finished as (
  update polyphony_flows f set ${finishedColumns}
  from outcomes o where f.id = o.flow_id and f.owner_epoch = o.epoch returning f.id)`,
      'claims_ended as (delete from polyphony_flow_claims c using finished where c.flow_id = finished.id)',
    ],
    held: 'select id from finished',
    reply: lost('outcomes', 'finished'),
  }),

  results: (source) => ({
    ctes: [
      ofHeldFlows('results', source),
      `results_replaced as (
  update polyphony_step_results t set ${replaced} from results r where ${sameKey(stepKey)} and t.status <> 'SUCCESS')`,
      insertMissing('results', 'polyphony_step_results', resultColumns, stepKey),
      `attempts as (
  select ${namesOf('r', stepKey)}, ${namesOf('a', attemptColumns)} from results r, ${recordset('r.attempts', 'a', attemptColumns)}
  where ${expectOne('a.number')})`,
      insertMissing(
        'attempts',
        'polyphony_step_attempts',
        { ...stepKey, ...attemptColumns },
        { ...stepKey, ...keyColumns(ATTEMPT_COLUMNS) },
      ),
    ],
  }),

  updates: (source) => ({
    ctes: [
      ofHeldFlows('updates', source),
      insertMissing('updates', 'polyphony_flow_updates', updateColumns, keyColumns(UPDATE_BATCH_COLUMNS)),
    ],
  }),

  messages: (source) => ({
    ctes: [
      ofHeldFlows('messages', source),
      insertMissing('messages', 'polyphony_messages', messageColumns, keyColumns(MESSAGE_COLUMNS)),
    ],
  }),
}

/**
 * The text of one statement for the parts of `mask`; `$n` is the JSON of its n-th part. All parts see one snapshot, so they must not touch the same flow, but
 * for `results`, `updates` and `messages` of a flow that another part holds.
 */
export function journalSql(mask: number): string {
  const fragments = JOURNAL_STATEMENTS.filter((part) => mask & JOURNAL_PART[part]).map((part, index) =>
    FRAGMENTS[part](recordset(`$${index + 1}::json`, 'r', PART_COLUMNS[part])),
  )
  const held = fragments.flatMap((fragment) => fragment.held ?? [])
  const replies = fragments.flatMap((fragment) => fragment.reply ?? [])
  const ctes = fragments.flatMap((fragment) => fragment.ctes)
  const heldCte = `held as (${held.join(' union all ')})`
  const firstHeld = ctes.findIndex((cte) => cte.includes('from held'))
  if (firstHeld >= 0) ctes.splice(firstHeld, 0, heldCte)
  if (replies.length === 0) replies.push('select null::json where false')
  return `with ${ctes.join(',\n')}\n${replies.join('\nunion all ')}`
}
