import { FLOW_SCHEMA_VERSION } from '../../../domain/execution/flow.ts'

// Statements lock rows of flows before rows of claims, in the order of the journal: otherwise a cancellation and a
// claim of one flow could wait for each other. A row of a flow may have changed since the snapshot of the statement,
// and only conditions on it are checked again, so they say `f.owner_id` and `f.status` although the claim holds the
// same.

const QUEUED = 'c.owner_id is null and c.queued_at is not null'
const RUNNABLE = '(c.requires is null or c.requires = any($3))'

/** Flows with rows of a later version are left to processes that know it. */
const KNOWN = `f.schema_version <= ${FLOW_SCHEMA_VERSION}`

/**
 * A flow without stored options runs a single step or is being cancelled, so it must not be run as a whole. Others were
 * stored only for the process that took the flow from the queue.
 */
const MAY_CONTINUE = "f.run_options is not null and f.run_options->>'resumeAfterCrash' is null"

/** Key of the lock under which flows of users are counted. The number has no meaning; it must only stay the same. */
const USERS_LOCK = 7_265_511_023

/** Begins a transaction in which no other process counts the flows of users. */
export const LOCK_USERS_SQL = `begin; select pg_advisory_xact_lock(${USERS_LOCK})`

/**
 * `$1` owner, `$2` start, `$3` registrations, `$4` flows per user or null, `$5` job or null. `users` skips from one
 * user of the index to the next, so that a user with a long queue costs as much as one with a short one. `picked` reads
 * the candidates in their order and stops at the first flow that no other process has locked.
 */
export const CLAIM_NEXT_SQL = `with recursive users as (
  (select c.user_id from polyphony_flow_claims c where ${QUEUED} order by c.user_id limit 1)
  union all
  select (select c.user_id from polyphony_flow_claims c where ${QUEUED} and c.user_id > u.user_id order by c.user_id limit 1)
  from users u where u.user_id is not null),
candidates as (
  select u.user_id, owned.flows, oldest.queued_at from users u
  cross join lateral (
    select c.queued_at from polyphony_flow_claims c where ${QUEUED} and c.user_id = u.user_id and ${RUNNABLE}
    order by c.queued_at limit 1) oldest
  cross join lateral (
    select count(*) as flows from polyphony_flow_claims c where c.user_id = u.user_id and c.owner_id is not null) owned
  where $4::int is null or owned.flows < $4
  order by owned.flows, oldest.queued_at),
repeated as (
  select f.id from polyphony_flow_claims c join polyphony_flows f on f.id = c.flow_id
  where c.job_id = $5 and (c.owner_id is not null or c.queued_at is not null) and f.status = 'RUNNING' and ${KNOWN}
  limit 1 for update of f skip locked),
next as (
  select first.id from candidates k cross join lateral (
    select f.id from polyphony_flow_claims c join polyphony_flows f on f.id = c.flow_id
    where ${QUEUED} and c.user_id = k.user_id and ${RUNNABLE} and f.owner_id is null and f.status = 'RUNNING' and ${KNOWN}
    order by c.queued_at limit 1 for update of f skip locked) first
  where not exists (select from repeated)
  limit 1),
claimed as (
  update polyphony_flows f set owner_epoch = f.owner_epoch + 1, schema_version = ${FLOW_SCHEMA_VERSION}, owner_id = $1, started_at = $2
  where f.id in (select id from repeated union all select id from next) returning f.id, f.owner_epoch),
moved as (
  update polyphony_flow_claims c set owner_id = $1, queued_at = null, job_id = $5 from claimed where c.flow_id = claimed.id)
select id as "flowId", owner_epoch as epoch, 0 as unrunnable from claimed
union all
select null, null, (select count(*)::int from polyphony_flow_claims c where ${QUEUED} and not ${RUNNABLE})
where not exists (select from claimed)`

// A flow that was started before others were queued continues before them.
const requeued = (flows: string, assignments = '') => `released as (
  update polyphony_flows f set owner_epoch = f.owner_epoch + 1, owner_id = null${assignments}
  from ${flows} where f.id = ${flows}.id returning f.id, f.created_at),
moved as (
  update polyphony_flow_claims c set owner_id = null, queued_at = released.created_at from released where c.flow_id = released.id)
select id from released`

const RECORDED = ", run_options = (f.run_options::jsonb || jsonb_build_object('recordedEpoch', f.owner_epoch + 1))::json"

/** `$1` flow, `$2` epoch. */
export const RELEASE_SQL = `with held as (
  select f.id from polyphony_flows f
  where f.id = $1 and f.owner_epoch = $2 and f.status = 'RUNNING' and f.owner_id is not null and ${MAY_CONTINUE}
  for update of f),
${requeued('held', RECORDED)}`

/** `$1` ids of dead owners, `$2` milliseconds without a heartbeat. */
export const REQUEUE_SQL = `with dead as (
  select id from polyphony_owners where id = any($1) or beat_at < clock_timestamp() - $2 * interval '1 millisecond'),
orphaned as (
  select f.id from polyphony_flow_claims c join polyphony_flows f on f.id = c.flow_id
  where f.status = 'RUNNING' and ${MAY_CONTINUE} and f.owner_id = c.owner_id and (c.owner_id in (select id from dead)
    or not exists (select from polyphony_owners o where o.id = c.owner_id) and f.started_at < clock_timestamp() - $2 * interval '1 millisecond')
  for update of f skip locked),
${requeued('orphaned')}`

const woken = `woken as (
  update polyphony_flows f set status = 'RUNNING', owner_id = null from paused where f.id = paused.id returning f.id),
moved as (
  update polyphony_flow_claims c set owner_id = null, queued_at = clock_timestamp(), wake_at = null from woken where c.flow_id = woken.id)
select id from woken`

/** `$1` flow. */
export const WAKE_SQL = `with paused as (
  select f.id from polyphony_flows f join polyphony_flow_claims c on c.flow_id = f.id
  where f.id = $1 and f.status = 'PAUSED' for update of f),
${woken}`

/** `$1` maximum number of flows. */
export const WAKE_DUE_SQL = `with paused as (
  select f.id from polyphony_flow_claims c join polyphony_flows f on f.id = c.flow_id
  where c.wake_at <= clock_timestamp() and f.status = 'PAUSED' order by c.wake_at limit $1 for update of f skip locked),
${woken}`

/** `$1` milliseconds, `$2` maximum number of flows. */
export const FIND_QUEUED_SQL = `select c.flow_id as "flowId", c.user_id as "userId", c.queued_at as "queuedAt", c.requires
from polyphony_flow_claims c
where ${QUEUED} and c.queued_at < clock_timestamp() - $1 * interval '1 millisecond' order by c.queued_at limit $2`

/** `$1` flow. */
export const QUEUED_AT_SQL = `select c.queued_at as "queuedAt" from polyphony_flow_claims c where c.flow_id = $1 and ${QUEUED}`

export const COUNTS_SQL = `select c.user_id as "userId", count(*) filter (where ${QUEUED})::int as queued,
  count(*) filter (where c.owner_id is not null)::int as running
from polyphony_flow_claims c where c.user_id is not null and (c.owner_id is not null or c.queued_at is not null) group by c.user_id`

/** `$1` registrations. */
export const UNRUNNABLE_SQL = `select f.name, d.version, case when not ${KNOWN} then f.schema_version end as "newerVersion", count(*)::int as flows
from polyphony_flow_claims c join polyphony_flows f on f.id = c.flow_id join polyphony_flow_definitions d on d.hash = f.definition_hash
where ${QUEUED} and (c.requires is not null and not c.requires = any($1) or not ${KNOWN})
group by f.name, d.version, "newerVersion" order by flows desc, f.name limit 100`
