import type { Pool } from 'pg'
import type { AdvertisedService, RunningService, ServiceRepository } from '../../services.ts'
import { guarded } from '../database-errors.ts'

/** `$3`: milliseconds after which a row that was not confirmed is gone. */
const ADVERTISE_SQL = `with stale as (
  select service_id, owner_id from polyphony_services
  where owner_id <> $1 and confirmed_at < clock_timestamp() - $3::float8 * interval '1 millisecond'
  for update skip locked),
removed as (
  delete from polyphony_services s using stale where s.service_id = stale.service_id and s.owner_id = stale.owner_id)
insert into polyphony_services as s (service_id, owner_id, address, state, since, confirmed_at)
select "serviceId", $1, address, state, clock_timestamp(), clock_timestamp()
from json_to_recordset($2::json) as given("serviceId" text, address text, state text)
on conflict (service_id, owner_id) do update set
  address = excluded.address, state = excluded.state, confirmed_at = excluded.confirmed_at,
  since = case when s.confirmed_at < clock_timestamp() - $3::float8 * interval '1 millisecond' then excluded.since else s.since end`

const FIND_SQL = `select distinct on (s.service_id)
  s.service_id as "serviceId", s.address, s.state, s.owner_id as "ownerId", o.host
from polyphony_services s join polyphony_owners o on o.id = s.owner_id
where s.service_id = any($1) and s.owner_id <> $2
  and s.confirmed_at >= clock_timestamp() - $3::float8 * interval '1 millisecond'
order by s.service_id, s.state in ('running', 'degraded') desc, s.since desc, s.owner_id`

export const createServiceRepository = (pool: Pool): ServiceRepository => ({
  advertise: guarded(async (ownerId: string, services: readonly AdvertisedService[], staleMs: number) => {
    await pool.query({
      name: 'polyphony_advertise',
      text: ADVERTISE_SQL,
      values: [ownerId, JSON.stringify(services), staleMs],
    })
  }),

  withdraw: guarded(async (ownerId: string, serviceIds?: readonly string[]) => {
    const ids = serviceIds === undefined ? null : [...serviceIds]
    await pool.query('delete from polyphony_services where owner_id = $1 and ($2::text[] is null or service_id = any($2))', [
      ownerId,
      ids,
    ])
  }),

  find: guarded(async (serviceIds: readonly string[], exceptOwner: string, staleMs: number) => {
    const { rows } = await pool.query<RunningService>({
      name: 'polyphony_find_services',
      text: FIND_SQL,
      values: [[...serviceIds], exceptOwner, staleMs],
    })
    return rows
  }),
})
