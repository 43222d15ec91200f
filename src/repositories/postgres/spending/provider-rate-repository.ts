import type { Pool } from 'pg'
import type { ProviderRateRepository, RateSlots, SharedRateLimits } from '../../repository.ts'
import { guarded } from '../database-errors.ts'

const ADD_SQL = 'insert into polyphony_provider_rates (account) values ($1) on conflict do nothing'

/**
 * `$1`: account; `$2`: milliseconds between requests; `$3`: milliseconds per token; `$4`: `maxConcurrency`; `$5` and
 * `$6`: ids and tokens of the wanted slots; `$7`: owner. Without a rate its parameter is null. The row is locked first,
 * and the clock is read after that, because a statement may wait for the lock longer than an interval.
 */
const TAKE_SQL = `with account as (
  select next_request_at, tokens_at, closed_until, running from polyphony_provider_rates where account = $1 for update),
moment as materialized (select a.*, clock_timestamp() as at from account a),
slots as (
  select m.*, case when m.closed_until > m.at then 0
    else greatest(0, least(cardinality($5::text[]), coalesce($4::int4 - m.running, cardinality($5::text[])))) end as granted
  from moment m),
wanted as (
  select s.*, (select coalesce(sum(t.tokens), 0) from unnest($6::int8[]) with ordinality as t(tokens, position)
    where t.position <= s.granted) * coalesce($3::float8, 0) * interval '1 millisecond' as refill
  from slots s),
ready as (select w.*, greatest(w.at, w.tokens_at) + w.refill - interval '1 minute' as tokens_ready from wanted w),
due as (
  select r.at, r.next_request_at, r.tokens_at, r.tokens_ready, r.closed_until, r.refill, greatest(r.at, r.next_request_at, r.tokens_ready) as first,
    case when r.tokens_ready > r.at + interval '1 second' then 0 else r.granted end as granted
  from ready r),
taken as (
  update polyphony_provider_rates r set
    next_request_at = case when $2::float8 is null then r.next_request_at else d.first + d.granted * $2::float8 * interval '1 millisecond' end,
    tokens_at = case when $3::float8 is null then r.tokens_at else greatest(d.at, r.tokens_at) + d.refill end,
    running = case when $4::int4 is null then r.running else r.running + d.granted end
  from due d where r.account = $1 and d.granted > 0),
kept as (
  insert into polyphony_provider_slots (id, account, owner_id)
  select s.id, $1, $7 from due d, unnest($5::text[]) with ordinality as s(id, position)
  where $4::int4 is not null and s.position <= d.granted)
select granted,
  case when granted > 0 or tokens_ready > at then extract(epoch from (case when granted > 0 then first else tokens_ready end) - at)::float8 * 1000
    else 0 end as "waitMs",
  case when closed_until > at then extract(epoch from closed_until - at)::float8 * 1000 else 0 end as "closedForMs" from due`

const LEAVE_SQL = `with removed as (delete from polyphony_provider_slots where id = any($2) returning id)
update polyphony_provider_rates set running = greatest(0, running - (select count(*) from removed)),
  tokens_at = tokens_at - $3::float8 * interval '1 millisecond'
where account = $1`

const CLOSE_SQL = `insert into polyphony_provider_rates as r (account, closed_until)
values ($1, clock_timestamp() + $2::float8 * interval '1 millisecond')
on conflict (account) do update set closed_until = greatest(r.closed_until, excluded.closed_until)`

const CLOSURES_SQL = `select account, extract(epoch from closed_until - clock_timestamp())::float8 * 1000 as "leftMs"
from polyphony_provider_rates where closed_until > clock_timestamp()`

/** `$1`: milliseconds without a heartbeat. */
const RELEASE_SQL = `with abandoned as (
  select s.id from polyphony_provider_slots s
  where not exists (select from polyphony_owners o where o.id = s.owner_id
    and o.beat_at >= clock_timestamp() - $1 * interval '1 millisecond')
  for update of s skip locked),
removed as (delete from polyphony_provider_slots s using abandoned a where s.id = a.id returning s.account)
update polyphony_provider_rates r set running = greatest(0, r.running - c.count)
from (select account, count(*) as count from removed group by account order by account) c where r.account = c.account`

const MS_PER_MINUTE = 60_000

export const createProviderRateRepository = (pool: Pool): ProviderRateRepository => {
  const take = async ({ account, ownerId, intervalMs, limits, slots }: RateSlots) => {
    const { rows } = await pool.query<{ granted: number; waitMs: number; closedForMs: number }>({
      name: 'polyphony_provider_take',
      text: TAKE_SQL,
      values: [
        account,
        intervalMs === 0 ? null : intervalMs,
        msPerToken(limits) ?? null,
        limits.maxConcurrency ?? null,
        slots.map(({ id }) => id),
        slots.map(({ tokens }) => tokens),
        ownerId,
      ],
    })
    return rows[0]
  }

  return {
    take: guarded(async (request: RateSlots) => {
      const known = await take(request)
      if (known) return known
      await pool.query(ADD_SQL, [request.account])
      return (await take(request)) ?? { granted: 0, waitMs: 0, closedForMs: 0 }
    }),

    leave: guarded(async (account: string, limits: SharedRateLimits, ids: readonly string[], unusedTokens: number) => {
      const values = [account, ids, unusedTokens * (msPerToken(limits) ?? 0)]
      await pool.query({ name: 'polyphony_provider_leave', text: LEAVE_SQL, values })
    }),

    close: guarded(async (account: string, forMs: number) => {
      await pool.query(CLOSE_SQL, [account, forMs])
    }),

    closures: guarded(async () => {
      const { rows } = await pool.query<{ account: string; leftMs: number }>({ name: 'polyphony_closures', text: CLOSURES_SQL })
      return new Map(rows.map(({ account, leftMs }) => [account, leftMs]))
    }),

    releaseSlots: guarded(async (staleMs: number) => {
      await pool.query(RELEASE_SQL, [staleMs])
    }),
  }
}

const msPerToken = ({ tokensPerMinute }: SharedRateLimits): number | undefined =>
  tokensPerMinute === undefined ? undefined : MS_PER_MINUTE / tokensPerMinute
