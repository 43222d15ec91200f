import type { Pool } from 'pg'
import { toStorableText } from '../../../domain/storable-text.ts'
import type {
  ClaimedDelivery,
  DeliveryAttempt,
  DeliveryCounts,
  NewDelivery,
  StoredWebhook,
  WebhookRepository,
} from '../../background-repositories.ts'
import { guarded } from '../database-errors.ts'
import { omitNulls } from '../rows.ts'

// The update in case of a conflict changes nothing; without it the statement would return no row.
const KEEP_SECRET_SQL = `insert into polyphony_webhooks as w (id, secret) values ($1, $2)
on conflict (id) do update set secret = coalesce(w.secret, excluded.secret) returning secret`

const FIND_SQL = 'select id, secret, disabled_at as "disabledAt" from polyphony_webhooks where id = any($1)'

const DISABLE_SQL = `with disabled as (
  insert into polyphony_webhooks (id, disabled_at) values ($1, $2) on conflict (id) do update set disabled_at = excluded.disabled_at)
update polyphony_webhook_deliveries set state = 'failed', due_at = null, settled_at = $2, problem = $3
where webhook_id = $1 and due_at is not null`

const RETRY_SQL = `with enabled as (update polyphony_webhooks set disabled_at = null where id = $1)
update polyphony_webhook_deliveries set state = 'queued', attempts = 0, due_at = $2, settled_at = null
where webhook_id = $1 and state = 'failed'`

const CLAIM_SQL = `with due as (
  select flow_id, seq from polyphony_webhook_deliveries where webhook_id = $1 and due_at <= $2
  and not exists (select from polyphony_webhooks w where w.id = $1 and w.disabled_at is not null)
  order by due_at limit $3 for update skip locked),
claimed as (
  update polyphony_webhook_deliveries d set attempts = d.attempts + 1, due_at = $4 from due
  where d.webhook_id = $1 and d.flow_id = due.flow_id and d.seq = due.seq
  returning d.flow_id, d.seq, d.type, d.created_at, d.facts, d.attempts)
select c.flow_id as "flowId", c.seq, c.type, c.created_at as timestamp, c.facts, c.attempts as attempt,
  case when f.id is not null then json_build_object('threadId', f.thread_id, 'userId', f.user_id, 'name', f.name) end as flow
from claimed c left join polyphony_flows f on f.id = c.flow_id order by c.created_at, c.seq`

const SETTLE_SQL = `update polyphony_webhook_deliveries set state = $4, due_at = $5, settled_at = $6, problem = coalesce($7, problem)
where webhook_id = $1 and flow_id = $2 and seq = $3 and state = 'queued' and ($4 = 'delivered' or attempts = $8)`

const COUNTS_SQL = `select webhook_id as id, count(*) filter (where state = 'queued')::int as queued,
  count(*) filter (where state = 'failed')::int as failed,
  (array_agg(problem order by coalesce(settled_at, due_at) desc) filter (where problem is not null and state <> 'delivered'))[1] as "lastProblem"
from polyphony_webhook_deliveries where webhook_id = any($1) group by webhook_id`

const PRUNE_SQL = `delete from polyphony_webhook_deliveries
where settled_at < $1 and state = 'delivered' or settled_at < $2 or due_at < $2`

type ClaimedRow = Omit<NewDelivery, 'webhookId'> &
  Pick<ClaimedDelivery, 'flowId' | 'attempt'> & { readonly flow: NonNullable<ClaimedDelivery['flow']> | null }

export const createWebhookRepository = (pool: Pool): WebhookRepository => ({
  keepSecret: guarded(async (id: string, secret: string) => {
    const { rows } = await pool.query<{ secret: string }>(KEEP_SECRET_SQL, [id, secret])
    return rows[0]?.secret ?? secret
  }),

  find: guarded(async (ids: readonly string[]) => {
    const { rows } = await pool.query<{ id: string; secret: string | null; disabledAt: Date | null }>(FIND_SQL, [[...ids]])
    return rows.map(({ id, ...rest }): StoredWebhook => ({ id, ...omitNulls(rest) }))
  }),

  disable: guarded(async (id: string, at: Date, problem: string) => {
    await pool.query(DISABLE_SQL, [id, at, toStorableText(problem)])
  }),

  retry: guarded(async (id: string, at: Date) => (await pool.query(RETRY_SQL, [id, at])).rowCount ?? 0),

  claim: guarded(async (webhookId: string, limit: number, now: Date, leaseUntil: Date) => {
    const { rows } = await pool.query<ClaimedRow>({
      name: 'polyphony_claim_deliveries',
      text: CLAIM_SQL,
      values: [webhookId, now, limit, leaseUntil],
    })
    return rows.map(({ flow, ...delivery }): ClaimedDelivery => ({ webhookId, ...delivery, ...(flow && { flow }) }))
  }),

  settle: guarded(async ({ webhookId, flowId, seq, attempt, at, state, dueAt, problem }: DeliveryAttempt) => {
    const text = problem === undefined ? null : toStorableText(problem)
    const ends = state === 'queued' ? [dueAt ?? at, null] : [null, at]
    await pool.query({
      name: 'polyphony_settle_delivery',
      text: SETTLE_SQL,
      values: [webhookId, flowId, seq, state, ...ends, text, attempt],
    })
  }),

  counts: guarded(async (ids: readonly string[]) => {
    const { rows } = await pool.query<{ id: string; queued: number; failed: number; lastProblem: string | null }>(COUNTS_SQL, [
      [...ids],
    ])
    return new Map(
      rows.map(({ id, queued, failed, lastProblem }): [string, DeliveryCounts] => [
        id,
        { queued, failed, ...omitNulls({ lastProblem }) },
      ]),
    )
  }),

  prune: guarded(async ({ delivered, failed }: { readonly delivered: Date; readonly failed: Date }) => {
    return (await pool.query(PRUNE_SQL, [delivered, failed])).rowCount ?? 0
  }),
})
