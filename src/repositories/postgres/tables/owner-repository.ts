import type { Pool } from 'pg'
import type { Owner, OwnerRepository } from '../../repository.ts'
import { guarded } from '../database-errors.ts'

const BEAT_SQL = `insert into polyphony_owners (id, host, pid, beat_at) values ($1, $2, $3, clock_timestamp())
on conflict (id) do update set beat_at = excluded.beat_at`

/** Within that time a distributed engine has taken over the flows of a dead process, if one runs. */
const TAKEOVER_MINUTES = 10

/**
 * `$1`: ids of owners that are known to be dead; `$2`: milliseconds without a heartbeat after which an owner is dead;
 * `$3`: ids of webhooks that the error is delivered to. For an owner without a row the milliseconds count from the
 * start of its execution. A flow with a job is put back into the queue by processes with the engine of that job;
 * others leave it alone, unless its owner has been dead for so long that no such process can exist any more. Several
 * processes may run the statement at the same time: each interrupts the flows that no other one has locked.
 */
const INTERRUPT_SQL = `with dead as (
  select id from polyphony_owners where id = any($1) or beat_at < clock_timestamp() - $2 * interval '1 millisecond'),
orphaned as (
  select f.id from polyphony_flow_claims c join polyphony_flows f on f.id = c.flow_id
  where f.status = 'RUNNING' and (c.owner_id in (select id from dead)
    or c.owner_id is not null and not exists (select from polyphony_owners o where o.id = c.owner_id) and f.started_at < clock_timestamp() - $2 * interval '1 millisecond')
    and (c.job_id is null or not exists (
      select from polyphony_owners o where o.id = c.owner_id and o.beat_at > clock_timestamp() - interval '${TAKEOVER_MINUTES} minutes'))
  for update of f skip locked),
interrupted as (
  update polyphony_flows f set status = 'FAILED', completed_at = clock_timestamp(), owner_epoch = f.owner_epoch + 1, error = json_build_object(
    'code', 'FLOW_INTERRUPTED', 'message', 'The process that ran flow ' || f.id || ' died', 'retryable', true,
    'details', json_build_object('flowId', f.id, 'ownerId', f.owner_id))
  from orphaned where f.id = orphaned.id returning f.id, f.error, f.completed_at),
ended as (
  delete from polyphony_flow_claims where flow_id in (select id from interrupted)),
errors as (
  select i.id, i.error, extract(epoch from i.completed_at) * 1000 as at_ms,
    coalesce((select max(u.last_seq) from polyphony_flow_updates u where u.flow_id = i.id), 0) + 1 as seq
  from interrupted i),
updates as (
  insert into polyphony_flow_updates (flow_id, last_seq, batch)
  select id, seq, json_build_array(json_build_array(seq, 'error', round(at_ms), null, null, error)) from errors),
announced as (
  insert into polyphony_webhook_deliveries (webhook_id, flow_id, seq, type, created_at, facts, due_at)
  select w.id, e.id, e.seq, 'error', i.completed_at, json_build_object('status', 'FAILED', 'errorCode', 'FLOW_INTERRUPTED'), i.completed_at
  from errors e join interrupted i on i.id = e.id cross join unnest($3::uuid[]) as w (id)),
removed as (
  delete from polyphony_owners o where o.id in (select id from dead)
  and not exists (select from polyphony_flow_claims c where c.owner_id = o.id and c.flow_id not in (select id from orphaned)))
select id from interrupted`

type InterruptOptions = Parameters<OwnerRepository['interruptOrphanedFlows']>[0]

export const createOwnerRepository = (pool: Pool): OwnerRepository => ({
  heartbeat: guarded(async ({ id, host, pid }: Owner) => {
    await pool.query({ name: 'polyphony_beat', text: BEAT_SQL, values: [id, host, pid] })
  }),

  unregister: guarded(async (ownerId: string) => {
    await pool.query('delete from polyphony_owners where id = $1', [ownerId])
  }),

  expire: guarded(async (ownerId: string) => {
    await pool.query("update polyphony_owners set beat_at = '-infinity' where id = $1", [ownerId])
  }),

  interruptOrphanedFlows: guarded(async ({ staleMs, isDead, deliverTo = [] }: InterruptOptions) => {
    const { rows: owners } = await pool.query<Owner>('select id, host, pid from polyphony_owners')
    const dead = owners.filter(isDead).map((owner) => owner.id)
    const { rows } = await pool.query<{ id: string }>(INTERRUPT_SQL, [dead, staleMs, [...deliverTo]])
    return rows.map((row) => row.id)
  }),
})
