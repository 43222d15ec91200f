import type { Pool } from 'pg'
import { toStorableText } from '../../../domain/storable-text.ts'
import type { ScheduledRun, ScheduleRepository, StoredSchedule } from '../../background-repositories.ts'
import { SCHEDULE_COLUMNS, type ScheduleRow } from '../../columns/background-columns.ts'
import { fieldsOf } from '../../columns/column.ts'
import { selectList } from '../column-sql.ts'
import { guarded } from '../database-errors.ts'
import { omitNulls } from '../rows.ts'

const KEEP_SQL = `insert into polyphony_schedules as s (name, timing, next_at) values ($1, $2, $3)
on conflict (name) do update set timing = excluded.timing, next_at = excluded.next_at, lease_until = null
where s.timing <> excluded.timing`

const LISTED_FIELDS = fieldsOf(SCHEDULE_COLUMNS).filter(({ property }) => property !== 'leaseUntil')
const LIST_SQL = `select ${selectList(LISTED_FIELDS)} from polyphony_schedules where name = any($1)`

const CLAIM_SQL = `update polyphony_schedules set lease_until = $4
where name = $1 and next_at = $2 and (lease_until is null or lease_until <= $3)`

const ADVANCE_SQL = `update polyphony_schedules set next_at = $3, lease_until = null,
  last_at = coalesce($4, last_at), last_flow_id = case when $4::timestamptz is null then last_flow_id else $5 end,
  last_problem = case when $4::timestamptz is null then last_problem else $6 end
where name = $1 and next_at = $2`

export const createScheduleRepository = (pool: Pool): ScheduleRepository => ({
  keep: guarded(async ({ name, timing, nextAt }: Pick<StoredSchedule, 'name' | 'timing' | 'nextAt'>) => {
    await pool.query(KEEP_SQL, [toStorableText(name), timing, nextAt])
  }),

  list: guarded(async (names: readonly string[]) => {
    const { rows } = await pool.query<Omit<ScheduleRow, 'leaseUntil'>>(LIST_SQL, [names.map(toStorableText)])
    return rows.map(({ name, timing, nextAt, ...rest }): StoredSchedule => ({ name, timing, nextAt, ...omitNulls(rest) }))
  }),

  claim: guarded(async (name: string, instant: Date, now: Date, leaseUntil: Date) => {
    const { rowCount } = await pool.query(CLAIM_SQL, [toStorableText(name), instant, now, leaseUntil])
    return rowCount === 1
  }),

  advance: guarded(async ({ name, instant, nextAt, ran }: ScheduledRun) => {
    const problem = ran?.problem === undefined ? null : toStorableText(ran.problem)
    await pool.query(ADVANCE_SQL, [toStorableText(name), instant, nextAt, ran?.at ?? null, ran?.flowId ?? null, problem])
  }),
})
