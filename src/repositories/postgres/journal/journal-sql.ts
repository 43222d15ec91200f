import { FLOW_SCHEMA_VERSION } from '../../../domain/execution/flow.ts'
import type { FlowStatus } from '../../../domain/vocabulary.ts'
import { markedFields } from '../../columns/column.ts'
import { FLOW_COLUMNS } from '../../columns/flow-columns.ts'
import { STEP_KEY_COLUMNS } from '../../columns/step-columns.ts'
import { type JsonColumns, jsonColumns } from '../column-sql.ts'
import { CLAIM_FIELDS, FINISH_FIELDS } from './flow-rows.ts'
import {
  ATTEMPTS,
  DEFINITIONS,
  DELIVERIES,
  FLOWS,
  INTENTS,
  JOURNAL_PART,
  JOURNAL_STATEMENTS,
  type JournalPart,
  type JournalTable,
  MESSAGES,
  NESTED_ATTEMPT_COLUMNS,
  PART_COLUMNS,
  RESULTS,
  TURNS,
  UPDATES,
  WAITS,
} from './journal-columns.ts'

/**
 * The reply of a statement for one flow, as one JSON column, because the driver spends time on each column of every
 * reply.
 */
export type JournalReply =
  | readonly [kind: 'exists' | 'thread_missing' | 'fenced', flowId: string]
  | readonly [kind: 'claimed', flowId: string, epoch: number]
  | readonly [
      kind: 'refused',
      flowId: string,
      epoch: number,
      status: FlowStatus,
      ownerId: string | null,
      startedMs: number | null,
      schemaVersion: number,
    ]

const names = (columns: JsonColumns) => Object.keys(columns).join(', ')
const namesOf = (rows: string, columns: JsonColumns) =>
  Object.keys(columns)
    .map((column) => `${rows}.${column}`)
    .join(', ')
const recordset = (json: string, rows: string, columns: JsonColumns) =>
  `json_to_recordset(${json}) as ${rows}(${Object.entries(columns)
    .map(([column, type]) => `${column} ${type}`)
    .join(', ')})`
const sameKey = ({ key }: JournalTable) =>
  Object.keys(key)
    .map((column) => `t.${column} = r.${column}`)
    .join(' and ')

const STEP_KEY = jsonColumns(STEP_KEY_COLUMNS)
const KEPT = new Set<string>(markedFields(FLOW_COLUMNS, 'keep').map(({ name }) => name))

/** Assignments by which a claim, and the entry into the queue, change a flow `f`, from its row `c`. */
const claimAssignments = [
  "status = 'RUNNING'",
  ...CLAIM_FIELDS.map(({ name }) => `${name} = ${KEPT.has(name) ? `coalesce(c.${name}, f.${name})` : `c.${name}`}`),
  ...markedFields(FLOW_COLUMNS, 'clear').map(({ name }) => `${name} = null`),
].join(', ')

/** Assignments by which an outcome changes a flow, from its row `o`. */
const outcomeAssignments = FINISH_FIELDS.map(({ name }) => `${name} = o.${name}`).join(', ')
/** Assignments by which a later result replaces a failed one, from its row `r`. */
const resultAssignments = Object.keys(RESULTS.columns)
  .filter((column) => !(column in RESULTS.key))
  .map((column) => `${column} = r.${column}`)
  .join(', ')

/** Assignments by which a wait for something else replaces one, from its row `r`. */
const waitAssignments = [
  ...Object.keys(WAITS.columns).map((column) => `${column} = r.${column}`),
  'decision = null, decided_by = null, decided_at = null',
].join(', ')

/** The SQL that one part adds to the statement. */
interface Fragment {
  readonly ctes: readonly string[]
  /** Selects the ids of flows whose results and updates may be written. */
  readonly locked?: string
  /** Selects rows of the reply. */
  readonly reply?: string
}

// Makes Postgres use the index. It expects 100 rows of any JSON and would read whole tables to join them, but after a
// comparison that it cannot estimate it expects one row.
const expectOne = (column: string) => `${column}::text = ${column}::text || ''`

const fenced = (part: JournalPart, locked: string) =>
  `select json_build_array('fenced', flow_id) from ${part} where flow_id not in (select id from ${locked})`

// There is no "on conflict do nothing", for which Postgres writes every row to its log once more. The epoch already
// excludes other writers of the flow.
const insertMissing = (rows: string, table: JournalTable) => `${rows}_written as (
  insert into ${table.name} (${names(table.columns)}) select ${names(table.columns)} from ${rows} r
  where not exists (select from ${table.name} t where ${sameKey(table)}))`

/** The attempts that the rows of a part carry. */
const nestedAttempts = (name: string, part: JournalPart) => `${name} as (
  select ${namesOf('r', STEP_KEY)}, ${namesOf('a', NESTED_ATTEMPT_COLUMNS)} from ${part} r, ${recordset('r.attempts', 'a', NESTED_ATTEMPT_COLUMNS)}
  where ${expectOne('a.number')})`

// "is true" keeps the condition from becoming a join, which would compare every row with every flow: with it the
// condition is one lookup in a hash table.
const ofLockedThread = '(r.thread_id in (select id from threads_locked)) is true'
const ofLockedFlows = (part: JournalPart, source: string) =>
  `${part} as (select * from ${source} where ${expectOne('r.flow_id')} and (r.flow_id in (select id from locked)) is true)`

/** Columns of a claim that the statement sets, from the claimed flow `r`. */
const CLAIM_ROW = {
  flow_id: 'r.id',
  owner_id: 'r.owner_id',
  user_id: 'r.user_id',
  requires: 'r.requires',
  queued_at: 'r.queued_at',
  job_id: 'r.job_id',
} as const
const claimRowUpdate = Object.entries(CLAIM_ROW)
  .filter(([column]) => column !== 'flow_id')
  .map(([column, value]) => `${column} = ${value}`)
  .join(', ')

/**
 * Flows that get an owner (`claims`) or wait for one (`enqueues`, whose rows have no owner). A queued flow keeps its
 * epoch: it writes nothing before a process claims it.
 */
const claiming =
  (part: 'claims' | 'enqueues', done: 'claimed' | 'enqueued') =>
  (source: string, addJob?: string): Fragment => {
    const [epoch, queuedAt] =
      part === 'claims' ? ['f.owner_epoch + 1', 'null::timestamptz'] : ['f.owner_epoch', 'clock_timestamp()']
    // The flow then has rows that older processes do not know. A queued flow has none yet.
    const version = part === 'claims' ? `schema_version = ${FLOW_SCHEMA_VERSION}, ` : ''
    const job = part === 'enqueues' && addJob ? `, ${addJob}` : ''
    return {
      ctes: [
        `${part} as (select * from ${source} where ${expectOne('r.flow_id')})`,
        `${done} as (
  update polyphony_flows f set owner_epoch = ${epoch}, ${version}${claimAssignments}
  from ${part} c where f.id = c.flow_id and f.status = any(c.allowed) and f.owner_epoch = coalesce(c.epoch, f.owner_epoch)
    and f.schema_version <= ${FLOW_SCHEMA_VERSION}
  returning f.id, f.owner_epoch, f.owner_id, f.user_id, c.requires, c.job_id, ${queuedAt} as queued_at)`,
        `${part}_moved as (update polyphony_flow_claims t set ${claimRowUpdate}, wake_at = null from ${done} r where t.flow_id = r.id)`,
        `${part}_written as (
  insert into polyphony_flow_claims (${Object.keys(CLAIM_ROW).join(', ')}) select ${Object.values(CLAIM_ROW).join(', ')} from ${done} r
  where not exists (select from polyphony_flow_claims t where t.flow_id = r.id))`,
      ],
      reply: `select json_build_array('claimed', r.id, r.owner_epoch${job}) from ${done} r
union all
select json_build_array('refused', f.id, f.owner_epoch, f.status, f.owner_id, extract(epoch from f.started_at) * 1000, f.schema_version) from polyphony_flows f
  where f.id in (select flow_id from ${part} except select id from ${done})`,
    }
  }

/** The fragment of each part, from the source of its rows, which SQL calls `r`. */
const FRAGMENTS: Readonly<Record<JournalPart, (source: string, addJob?: string) => Fragment>> = {
  definitions: (source) => ({
    ctes: [
      `definitions_written as (
  insert into ${DEFINITIONS.name} (${names(DEFINITIONS.columns)}) select * from ${source} on conflict (hash) do nothing)`,
    ],
  }),

  flows: (source) => ({
    ctes: [
      `flows as (select * from ${source} where ${expectOne('r.id')})`,
      // A thread that is locked by another transaction is being deleted. Waiting for it could be a deadlock: the
      // deletion may wait for flows that this statement has locked.
      `threads_locked as (
  select t.id from polyphony_threads t where t.id in (select thread_id from flows) for key share of t skip locked)`,
      `flows_written as (
  insert into polyphony_flows (${names(FLOWS.columns)}) select * from flows r
  where ${ofLockedThread} and not exists (select from polyphony_flows t where t.id = r.id) returning id)`,
    ],
    locked: 'select id from flows_written',
    reply: `select json_build_array(case when ${ofLockedThread} then 'exists' else 'thread_missing' end, id) from flows r
  where id not in (select id from flows_written)`,
  }),

  claims: claiming('claims', 'claimed'),
  enqueues: claiming('enqueues', 'enqueued'),

  entries: (source) => ({
    ctes: [
      `entries as (select * from ${source} where ${expectOne('r.flow_id')})`,
      `entries_locked as (
  select f.id from polyphony_flows f join entries e on f.id = e.flow_id and f.owner_epoch = e.epoch for share of f)`,
    ],
    locked: 'select id from entries_locked',
    reply: fenced('entries', 'entries_locked'),
  }),

  outcomes: (source) => ({
    ctes: [
      `outcomes as (select * from ${source} where ${expectOne('r.flow_id')})`,
      `finished as (
  update polyphony_flows f set ${outcomeAssignments}
  from outcomes o where f.id = o.flow_id and f.owner_epoch = o.epoch returning f.id, f.status)`,
      `claims_ended as (
  delete from polyphony_flow_claims c using finished where c.flow_id = finished.id and finished.status <> 'PAUSED')`,
    ],
    locked: 'select id from finished',
    reply: fenced('outcomes', 'finished'),
  }),

  results: (source) => ({
    ctes: [
      ofLockedFlows('results', source),
      `results_replaced as (
  update polyphony_step_results t set ${resultAssignments} from results r where ${sameKey(RESULTS)} and t.status <> 'SUCCESS')`,
      insertMissing('results', RESULTS),
      nestedAttempts('attempts', 'results'),
      insertMissing('attempts', ATTEMPTS),
      `intents_settled as (delete from ${INTENTS.name} t using results r where ${sameKey(RESULTS)})`,
    ],
  }),

  turns: (source) => ({
    ctes: [
      ofLockedFlows('turns', source),
      insertMissing('turns', TURNS),
      nestedAttempts('turn_attempts', 'turns'),
      insertMissing('turn_attempts', ATTEMPTS),
      `turn_intents_settled as (delete from ${INTENTS.name} t using turn_attempts r where ${sameKey(INTENTS)})`,
    ],
  }),

  closed: (source) => ({
    ctes: [
      ofLockedFlows('closed', source),
      `turns_closed as (
  update ${TURNS.name} t set data = (t.data::jsonb - 'vendorTurn')::json from closed r
  where t.flow_id = r.flow_id and t.path = r.path and t.iteration = r.iteration and (t.data -> 'vendorTurn') is not null)`,
    ],
  }),

  updates: (source) => ({
    ctes: [ofLockedFlows('updates', source), insertMissing('updates', UPDATES)],
  }),

  messages: (source) => ({
    ctes: [ofLockedFlows('messages', source), insertMissing('messages', MESSAGES)],
  }),

  // A part of its own and not of the results, which may remove older intents of the same step in the same statement.
  intents: (source) => ({
    ctes: [ofLockedFlows('intents', source), insertMissing('intents', INTENTS)],
  }),

  deliveries: (source) => ({
    ctes: [ofLockedFlows('deliveries', source), insertMissing('deliveries', DELIVERIES)],
  }),

  waits: (source) => ({
    ctes: [
      ofLockedFlows('waits', source),
      `waits_replaced as (
  update ${WAITS.name} t set ${waitAssignments} from waits r where ${sameKey(WAITS)} and t.hash <> r.hash)`,
      insertMissing('waits', WAITS),
    ],
  }),

  // An outcome of the same statement has the status PAUSED. "least" keeps the instant of a decision that came while
  // the flow ran: both statements change this row, so the later one sees what the earlier one wrote. A statement that
  // is repeated because its answer was lost may find the flow woken and queued under the same epoch: it is due at once.
  pauses: (source) => ({
    ctes: [
      `pauses as (select * from ${source} where ${expectOne('r.flow_id')})`,
      `claims_paused as (
  update polyphony_flow_claims c set owner_id = null, queued_at = null, job_id = null,
    wake_at = case when c.queued_at is null then least(c.wake_at, r.wake_at) else to_timestamp(0) end
  from pauses r join finished on finished.id = r.flow_id where c.flow_id = r.flow_id)`,
    ],
  }),
}

/**
 * The text of one statement for the parts of `mask`; `$n` is the JSON of its n-th part. All parts see one snapshot, so
 * no two of them may write the same flow. A part that reads the flows `locked` writes rows only of those that another
 * part has locked. `addJob`: an SQL expression with which an engine adds a job for a queued flow `r`, evaluated once
 * per flow.
 */
export function journalSql(mask: number, addJob?: string): string {
  const fragments = JOURNAL_STATEMENTS.filter((part) => mask & JOURNAL_PART[part]).map((part, index) =>
    FRAGMENTS[part](recordset(`$${index + 1}::json`, 'r', PART_COLUMNS[part]), addJob),
  )
  const locked = fragments.flatMap((fragment) => fragment.locked ?? [])
  const replies = fragments.flatMap((fragment) => fragment.reply ?? [])
  const ctes = fragments.flatMap((fragment) => fragment.ctes)
  const firstReader = ctes.findIndex((cte) => cte.includes('from locked'))
  if (firstReader >= 0) ctes.splice(firstReader, 0, `locked as (${locked.join(' union all ')})`)
  if (replies.length === 0) replies.push('select null::json where false')
  return `with ${ctes.join(',\n')}\n${replies.join('\nunion all ')}`
}
