import type { Pool } from 'pg'
import { toStorableJson, toStorableText } from '../../../domain/storable-text.ts'
import type { WaitKey } from '../../../domain/waiting/wait.ts'
import type { WaitAnswer, WaitCursor, WaitEvent, WaitRepository } from '../../repository.ts'
import { guarded } from '../database-errors.ts'
import { fromWaitRow, type SelectedWait, WAIT_SELECTION } from '../journal/wait-rows.ts'
import { canBeFlowId } from '../storable.ts'

const OF_SQL = `select ${WAIT_SELECTION} from polyphony_flow_waits w where w.flow_id = $1`

const OPEN = 'w.decided_at is null and (w.deadline is null or w.deadline > clock_timestamp())'
/** A flow that has ended has no claim. */
const ACTIVE = 'exists (select from polyphony_flow_claims c where c.flow_id = w.flow_id)'

const EXPIRE_SQL = `update polyphony_flow_waits set decision = '{"timedOut":true}', decided_at = deadline
where flow_id = $1 and decided_at is null and deadline <= clock_timestamp()`

// A flow is due at once from then on. That is written for running flows as well: the flow may be about to pause, with a
// snapshot in which the wait is open.
const WOKEN = `woken as (update polyphony_flow_claims c set wake_at = to_timestamp(0) from decided where c.flow_id = decided.flow_id)`

/** `$1` flow, `$2` path, `$3` iteration, `$4` hash, `$5` decision, `$6` user, `$7` instant. */
const DECIDE_SQL = `with decided as (
  update polyphony_flow_waits w set decision = $5, decided_by = $6, decided_at = $7
  where w.flow_id = $1 and w.path = $2 and w.iteration = $3 and w.hash = $4 and ${OPEN} and ${ACTIVE} returning w.flow_id),
${WOKEN}
select 1 from decided`

/** `$1` user, `$2` event, `$3` correlation, `$4` decision, `$5` instant, `$6` maximum number. */
const deliverSql = (correlation: string) => `with matching as (
  select w.flow_id, w.path, w.iteration from polyphony_flow_waits w
  join polyphony_thread_permissions p on p.thread_id = w.thread_id and p.user_id = $1 and 'write' = any(p.rights)
  where w.event = $2 and ${correlation} and ${OPEN} and ${ACTIVE} limit $6 for update of w skip locked),
decided as (
  update polyphony_flow_waits w set decision = $4, decided_by = $1, decided_at = $5 from matching m
  where w.flow_id = m.flow_id and w.path = m.path and w.iteration = m.iteration returning w.flow_id, w.path, w.iteration),
${WOKEN}
select flow_id as "flowId", path, iteration from decided`

/** Each has a name of its own, because the index on events serves only a comparison with the correlation itself. */
const DELIVER_SQL = {
  correlated: deliverSql('w.correlation = $3'),
  uncorrelated: deliverSql('w.correlation is null and $3::text is null'),
}

/** `$1` user, `$2` maximum number, `$3` to `$6` the wait after which the page begins, or null. */
const LIST_SQL = `select ${WAIT_SELECTION} from polyphony_thread_permissions p join polyphony_flow_waits w on w.thread_id = p.thread_id
where p.user_id = $1 and 'read' = any(p.rights) and ${OPEN} and ${ACTIVE}
  and ($3::timestamptz is null or (w.since, w.flow_id, w.path, w.iteration) > ($3, $4::uuid, $5::text, $6::int))
order by w.since, w.flow_id, w.path, w.iteration limit $2`

/** Waits in tables of Postgres. */
export const createWaitRepository = (pool: Pool): WaitRepository => ({
  of: guarded(async (flowId: string) => {
    if (!canBeFlowId(flowId)) return []
    const { rows } = await pool.query<SelectedWait>({ name: 'polyphony_waits_of', text: OF_SQL, values: [flowId] })
    return rows.map(fromWaitRow)
  }),

  expire: guarded(async (flowId: string) => {
    if (canBeFlowId(flowId)) await pool.query({ name: 'polyphony_waits_expire', text: EXPIRE_SQL, values: [flowId] })
  }),

  decide: guarded(async ({ flowId, path, iteration, hash, decision, by, at }: WaitAnswer) => {
    if (!canBeFlowId(flowId)) return false
    const { rows } = await pool.query({
      name: 'polyphony_waits_decide',
      text: DECIDE_SQL,
      values: [flowId, toStorableText(path), iteration, hash, toStorableJson(decision), toStorableText(by), at],
    })
    return rows.length > 0
  }),

  deliver: guarded(async ({ userId, event, correlation, data, at, limit }: WaitEvent) => {
    const kind = correlation === undefined ? 'uncorrelated' : 'correlated'
    const texts = [userId, event].map(toStorableText)
    const { rows } = await pool.query<WaitKey>({
      name: `polyphony_waits_deliver_${kind}`,
      text: DELIVER_SQL[kind],
      values: [...texts, correlation === undefined ? null : toStorableText(correlation), toStorableJson({ data }), at, limit],
    })
    return rows
  }),

  list: guarded(async (userId: string, limit: number, after?: WaitCursor) => {
    if (after && !canBeFlowId(after.flowId)) return []
    const { rows } = await pool.query<SelectedWait>({
      name: 'polyphony_waits_list',
      text: LIST_SQL,
      values: [
        toStorableText(userId),
        limit,
        after?.since ?? null,
        after?.flowId ?? null,
        after ? toStorableText(after.path) : null,
        after?.iteration ?? null,
      ],
    })
    return rows.map(fromWaitRow)
  }),
})
