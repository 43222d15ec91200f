import type { Pool } from 'pg'
import { toStorableText } from '../../../domain/storable-text.ts'
import type { BUDGET_USAGE_COLUMNS, BudgetUsageRow } from '../../columns/spending-columns.ts'
import type { BudgetKey, BudgetRepository, BudgetReservation, BudgetSettlement, BudgetUsage } from '../../repository.ts'
import { guarded, sqlStateOf } from '../database-errors.ts'

const UNIQUE_VIOLATION = '23505'

const KEY = 'name, subject, window_start'

const ADD_SQL = `insert into polyphony_budget_usage (${KEY})
select ${KEY} from json_to_recordset($1::json) as k(name text, subject text, window_start timestamptz)
order by ${KEY} on conflict do nothing`

/**
 * `$1`: caps; `$2`: id; `$3`: owner; `$4` to `$6`: cost, tokens, flows. The rows are locked in the order of their keys,
 * so that reservations of several budgets never block each other for ever; a locked row is read in its newest version.
 * Nothing is written unless every row exists and every cap holds, nor where the id is reserved already.
 */
const RESERVE_SQL = `with caps as (
  select * from json_to_recordset($1::json) as c(position int4, name text, subject text, window_start timestamptz,
    max_cost_nano_usd int8, max_tokens int8, max_flows int8)),
locked as (
  select c.position, u.*,
    ($4::int8 = 0 or c.max_cost_nano_usd is null or u.cost_nano_usd + u.reserved_nano_usd + $4::int8 <= c.max_cost_nano_usd)
    and ($5::int8 = 0 or c.max_tokens is null or u.tokens + u.reserved_tokens + $5::int8 <= c.max_tokens)
    and ($6::int8 = 0 or c.max_flows is null or u.flows + $6::int8 <= c.max_flows) as fits
  from polyphony_budget_usage u join caps c using (${KEY})
  order by u.name, u.subject, u.window_start for update of u),
verdict as (
  select repeated or bool_and(fits) and count(*) = (select count(*) from caps) as granted, repeated
  from locked, (select exists (select from polyphony_budget_reservations where id = $2::text) as repeated) r group by repeated),
counted as (
  update polyphony_budget_usage u set reserved_nano_usd = u.reserved_nano_usd + $4::int8,
    reserved_tokens = u.reserved_tokens + $5::int8, flows = u.flows + $6::int8
  from locked l, verdict v
  where v.granted and not v.repeated and (u.name, u.subject, u.window_start) = (l.name, l.subject, l.window_start)),
kept as (
  insert into polyphony_budget_reservations (id, ${KEY}, owner_id, cost_nano_usd, tokens)
  select $2::text, ${KEY}, $3::text, $4::int8, $5::int8 from caps, verdict v where v.granted and not v.repeated and $6::int8 = 0)
select v.granted, l.name, l.subject, l.window_start as "windowStart", l.cost_nano_usd::float8 as "costNanoUsd",
  l.tokens::float8 as tokens, l.flows::float8 as flows, l.reserved_nano_usd::float8 as "reservedNanoUsd",
  l.reserved_tokens::float8 as "reservedTokens"
from locked l cross join verdict v order by l.position`

/** The statement after `removed`: subtracts the reservations that `removed` holds, and adds what they have spent. */
const SUBTRACT_SQL = `changes as (
  select ${KEY}, sum(cost_nano_usd) as cost, sum(tokens) as tokens, sum(spent_nano_usd) as spent, sum(spent_tokens) as spent_tokens
  from removed group by ${KEY}),
locked as (
  select u.name, u.subject, u.window_start from polyphony_budget_usage u join changes using (${KEY})
  order by u.name, u.subject, u.window_start for update of u)
update polyphony_budget_usage u set reserved_nano_usd = u.reserved_nano_usd - c.cost, reserved_tokens = u.reserved_tokens - c.tokens,
  cost_nano_usd = u.cost_nano_usd + c.spent, tokens = u.tokens + c.spent_tokens
from locked l join changes c using (${KEY})
where (u.name, u.subject, u.window_start) = (l.name, l.subject, l.window_start)`

/** Nothing is spent by an attempt whose flow was taken over meanwhile: the journal refuses its result as well. */
const SETTLE_SQL = `with given as (
  select s.*, not exists (select from polyphony_flows f where f.id = s.flow_id and f.owner_epoch <> s.epoch
    and f.owner_id is not null and f.status <> 'CANCELLED') as counts
  from json_to_recordset($1::json) as s(id text, cost_nano_usd int8, tokens int8, flow_id uuid, epoch int4)),
settled as (
  select id, case when counts then cost_nano_usd else 0 end as cost_nano_usd, case when counts then tokens else 0 end as tokens from given),
removed as (
  delete from polyphony_budget_reservations r using settled s where r.id = s.id
  returning r.name, r.subject, r.window_start, r.cost_nano_usd, r.tokens, s.cost_nano_usd as spent_nano_usd, s.tokens as spent_tokens),
${SUBTRACT_SQL}`

/** `$1`: milliseconds without a heartbeat. Reservations that another process settles or releases now are left to it. */
const RELEASE_SQL = `with abandoned as (
  select r.id, r.name from polyphony_budget_reservations r
  where not exists (select from polyphony_owners o where o.id = r.owner_id
    and o.beat_at >= clock_timestamp() - $1 * interval '1 millisecond')
  for update of r skip locked),
removed as (
  delete from polyphony_budget_reservations r using abandoned a where (r.id, r.name) = (a.id, a.name)
  returning r.id, r.name, r.subject, r.window_start, r.cost_nano_usd, r.tokens, 0 as spent_nano_usd, 0 as spent_tokens),
subtracted as (with ${SUBTRACT_SQL})
select count(distinct id)::int4 as count from removed`

const WITHDRAW_SQL = `update polyphony_budget_usage u set flows = greatest(u.flows - 1, 0)
from json_to_recordset($1::json) as k(name text, subject text, window_start timestamptz)
where (u.name, u.subject, u.window_start) = (k.name, k.subject, k.window_start)`

const LIST_SQL = `select name, subject, window_start as "windowStart", cost_nano_usd::float8 as "costNanoUsd", tokens::float8 as tokens,
  flows::float8 as flows, reserved_nano_usd::float8 as "reservedNanoUsd", reserved_tokens::float8 as "reservedTokens"
from polyphony_budget_usage where window_start = any($1) and ($2::text is null or subject = $2) order by ${KEY} limit 10000`

type KeyJson = Readonly<Record<(typeof BUDGET_USAGE_COLUMNS)['name' | 'subject' | 'windowStart']['name'], unknown>>

const toJsonKey = ({ name, subject, windowStart }: BudgetKey): KeyJson => ({
  name,
  subject: toStorableText(subject),
  window_start: windowStart,
})

export const createBudgetRepository = (pool: Pool): BudgetRepository => {
  /** Repeated where the same reservation was stored by another statement since the snapshot of this one. */
  const tryReserve = (reservation: BudgetReservation) =>
    reserveOnce(reservation).catch((error: unknown) => {
      if (sqlStateOf(error) === UNIQUE_VIOLATION) return reserveOnce(reservation)
      throw error
    })

  async function reserveOnce({ id, ownerId, caps, costNanoUsd, tokens, flows }: BudgetReservation) {
    const rows = caps.map((cap, position) => ({
      ...toJsonKey(cap),
      position,
      max_cost_nano_usd: cap.maxCostNanoUsd,
      max_tokens: cap.maxTokens,
      max_flows: cap.maxFlows,
    }))
    return pool.query<BudgetUsageRow & { granted: boolean }>({
      name: 'polyphony_budget_reserve',
      text: RESERVE_SQL,
      values: [JSON.stringify(rows), id, ownerId, costNanoUsd, tokens, flows],
    })
  }

  return {
    reserve: guarded(async (reservation: BudgetReservation) => {
      let { rows } = await tryReserve(reservation)
      // The rows of a window are created at the first reservation in it.
      if (rows.length < reservation.caps.length) {
        await pool.query(ADD_SQL, [JSON.stringify(reservation.caps.map(toJsonKey))])
        rows = (await tryReserve(reservation)).rows
      }
      const granted = rows.length === reservation.caps.length && rows.every((row) => row.granted)
      return { granted, usage: rows.map(({ granted: _, ...usage }) => usage) }
    }),

    settle: guarded(async (settlements: readonly BudgetSettlement[]) => {
      const rows = settlements.map(({ id, costNanoUsd, tokens, flow }) => ({
        id,
        cost_nano_usd: costNanoUsd,
        tokens,
        flow_id: flow?.flowId,
        epoch: flow?.epoch,
      }))
      await pool.query({ name: 'polyphony_budget_settle', text: SETTLE_SQL, values: [JSON.stringify(rows)] })
    }),

    withdrawFlow: guarded(async (keys: readonly BudgetKey[]) => {
      await pool.query(WITHDRAW_SQL, [JSON.stringify(keys.map(toJsonKey))])
    }),

    release: guarded(async (staleMs: number) => {
      const { rows } = await pool.query<{ count: number }>(RELEASE_SQL, [staleMs])
      return rows[0]?.count ?? 0
    }),

    list: guarded(async (windowStarts: readonly Date[], subject?: string) => {
      const { rows } = await pool.query<BudgetUsage>(LIST_SQL, [
        windowStarts,
        subject === undefined ? null : toStorableText(subject),
      ])
      return rows
    }),

    prune: guarded(async (startedBefore: Date) => {
      const { rowCount } = await pool.query('delete from polyphony_budget_usage where window_start < $1', [startedBefore])
      return rowCount ?? 0
    }),
  }
}
