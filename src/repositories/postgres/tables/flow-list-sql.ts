import { toStorableText } from '../../../domain/storable-text.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import type { ListFlowsQuery } from '../../repository.ts'
import { FLOW_SELECTION, LISTED_FLOW_SELECTION } from '../journal/flow-rows.ts'
import { canBeFlowId } from '../storable.ts'

interface SortKey {
  readonly sql: string
  readonly type: string
  readonly isNullable?: boolean
}

// These texts become part of the statement, so callers choose one by name and never supply any.
const SORT_KEYS: { readonly [SortBy in ListFlowsQuery['sortBy']]: SortKey } = {
  createdAt: { sql: 'created_at', type: 'timestamptz' },
  // The clock of the database is finer than the milliseconds of a cursor.
  completedAt: { sql: "date_trunc('milliseconds', completed_at)", type: 'timestamptz', isNullable: true },
  name: { sql: 'name', type: 'text' },
}

const DIRECTIONS = { ASC: { order: 'asc', after: '>' }, DESC: { order: 'desc', after: '<' } } as const

/** The statement of one list of flows; undefined if no flow can match. */
export function flowListSql(query: ListFlowsQuery): { readonly text: string; readonly values: readonly unknown[] } | undefined {
  const { threadId, userId, status, type, limit, offset, sortBy, sortOrder, after } = query
  if ((threadId === undefined) === (userId === undefined)) {
    throw new OrchestratorError('INTERNAL', 'Expected a list of flows either of a thread or of a user')
  }
  if (after && !canBeFlowId(after.id)) return undefined
  const key = SORT_KEYS[sortBy]
  const direction = DIRECTIONS[sortOrder]
  const values: unknown[] = []
  const value = (given: unknown, sqlType: string): string =>
    `$${values.push(typeof given === 'string' ? toStorableText(given) : given)}::${sqlType}`
  const conditions = [threadId === undefined ? `user_id = ${value(userId, 'text')}` : `thread_id = ${value(threadId, 'text')}`]
  if (status) conditions.push(`status = ${value(status, 'text')}`)
  if (type) conditions.push(`flow_type = ${value(type, 'text')}`)
  if (after) {
    const isLater =
      after.value === null
        ? `(${key.sql} is null and id ${direction.after} ${value(after.id, 'uuid')})`
        : `(${key.sql}, id) ${direction.after} (${value(after.value, key.type)}, ${value(after.id, 'uuid')})`
    conditions.push(key.isNullable && after.value !== null ? `(${key.sql} is null or ${isLater})` : isLater)
  }
  // Only for columns that have nulls: Postgres cannot read an index backwards when nulls come last.
  const nulls = key.isNullable ? ' nulls last' : ''
  const text = `select ${LISTED_FLOW_SELECTION} from polyphony_flows where ${conditions.join(' and ')}
order by ${key.sql} ${direction.order}${nulls}, id ${direction.order} limit ${value(limit, 'int')} offset ${value(offset, 'int')}`
  return { text, values }
}

export const NEWEST_BY_NAME_SQL = `select ${FLOW_SELECTION} from polyphony_flows where user_id = $1 and name = $2 and thread_id <> all($3::text[])
order by created_at desc, id desc limit 1`

/** Reads one index entry per name, however many flows have the name. */
export const NAMES_SQL = `with recursive newest as (
  (select name, id, thread_id, created_at from polyphony_flows where user_id = $1
    order by name desc, created_at desc, id desc limit 1)
  union all
  select further.* from newest, lateral (
    select name, id, thread_id, created_at from polyphony_flows where user_id = $1 and name < newest.name
      order by name desc, created_at desc, id desc limit 1) further)
select name, id, thread_id as "threadId", created_at as "createdAt" from newest order by created_at desc, id desc limit $2`

/** `$1`: flow ids. Results of single samples are left out: the joined result of the step covers them. */
export const STEP_STATES_SQL = `select flow_id, path, status from polyphony_step_results where flow_id = any($1) and sample = 0
group by flow_id, path, status order by flow_id, min(recorded)`
