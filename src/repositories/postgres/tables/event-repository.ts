import type { Pool } from 'pg'
import type { EventQuery, PolyphonyEvent } from '../../../domain/event.ts'
import { toStorableJson, toStorableText } from '../../../domain/storable-text.ts'
import { fieldsOf } from '../../columns/column.ts'
import { EVENT_COLUMNS, type EventRow } from '../../columns/event-columns.ts'
import type { EventRepository, UnnumberedEvent } from '../../events.ts'
import { jsonColumnsOf, selectList } from '../column-sql.ts'
import { guarded } from '../database-errors.ts'
import { omitNulls } from '../rows.ts'
import { inTransaction } from '../transaction.ts'

/** Key of the lock under which events are numbered. The number must only stay the same. */
const EVENTS_LOCK = 7_265_511_124

// Numbers must become visible in their order, otherwise a reader that continues after a number would miss the events of
// a transaction that commits later. The lock is a statement of its own, so that the insert sees what was committed
// before.
const LOCK_SQL = `begin; select pg_advisory_xact_lock(${EVENTS_LOCK})`

const GIVEN = fieldsOf(EVENT_COLUMNS).filter(({ property }) => property !== 'seq')
const GIVEN_TYPES = Object.entries(jsonColumnsOf(EVENT_COLUMNS, GIVEN)).map(([name, type]) => `${name} ${type}`)
const GIVEN_NAMES = GIVEN.map(({ name }) => name).join(', ')

const APPEND_SQL = `with newest as (select coalesce(max(seq), 0) as seq from polyphony_events),
added as (
  insert into polyphony_events (seq, ${GIVEN_NAMES})
  select (select seq from newest) + position, ${GIVEN_NAMES}
  from json_to_recordset($1::json) as given(position int, ${GIVEN_TYPES.join(', ')}))
select (seq + 1)::float8 as first from newest`

const SELECT_SQL = `select seq::float8 as seq, ${selectList(GIVEN)} from polyphony_events
where seq > $1::float8 and ($2::float8 is null or seq <= $2::float8)
and ($3::timestamptz is null or created_at >= $3) and ($4::timestamptz is null or created_at <= $4)
and ($5::text[] is null or type like any($5)) and ($6::text is null or correlation_id = $6)
and ($7::text is null or user_id = $7) and ($8::text is null or subject = $8)`
const READ_SQL = `${SELECT_SQL} order by seq limit $9`
const READ_NEWEST_SQL = `${SELECT_SQL} order by seq desc limit $9`

const NEWEST_SQL = 'select coalesce(max(seq), 0)::float8 as seq from polyphony_events'

const PRUNE_SQL = `delete from polyphony_events where created_at < $1 and seq < (select max(seq) from polyphony_events)`

/** The event log in one table. */
export const createEventRepository = (pool: Pool): EventRepository => ({
  append: guarded(async (events: readonly UnnumberedEvent[]) => {
    const rows = toStorableJson(events.map(toRow))
    return inTransaction(
      pool,
      async (client) => {
        const { rows: found } = await client.query<{ first: number }>(APPEND_SQL, [rows])
        return found[0]?.first ?? 0
      },
      LOCK_SQL,
    )
  }),

  read: guarded(async (query: EventQuery, limit: number) => {
    const { rows } = await pool.query<EventRow>(READ_SQL, [...toValues(query), limit])
    return rows.map(toEvent)
  }),

  readNewest: guarded(async (query: EventQuery, limit: number) => {
    const { rows } = await pool.query<EventRow>(READ_NEWEST_SQL, [...toValues(query), limit])
    return rows.map(toEvent).reverse()
  }),

  newestSeq: guarded(async () => (await pool.query<{ seq: number }>(NEWEST_SQL)).rows[0]?.seq ?? 0),

  prune: guarded(async (before: Date) => (await pool.query(PRUNE_SQL, [before])).rowCount ?? 0),
})

const toValues = ({ afterSeq = 0, throughSeq, from, to, types, correlationId, userId, subject }: EventQuery) => [
  afterSeq,
  throughSeq,
  from,
  to,
  types?.map(toPattern),
  ...[correlationId, userId, subject].map((text) => text && toStorableText(text)),
]

/** `correlationId` becomes `correlation_id`, and so on; `position` counts from 1. */
function toRow(event: UnnumberedEvent, index: number): Readonly<Record<string, unknown>> {
  const row: Record<string, unknown> = { position: index + 1 }
  for (const { property, name } of GIVEN) row[name] = Reflect.get(event, property)
  return row
}

function toEvent({ seq, id, type, source, priority, data, timestamp, ...optional }: EventRow): PolyphonyEvent {
  return { seq, id, type, source, priority, data, timestamp, ...omitNulls(optional) }
}

/** A pattern of LIKE: `service_*` becomes `service\_%`. */
const toPattern = (name: string): string => {
  const type = toStorableText(name)
  const text = (type.endsWith('*') ? type.slice(0, -1) : type).replace(/[\\%_]/g, '\\$&')
  return type.endsWith('*') ? `${text}%` : text
}
