import type { Pool } from 'pg'
import type { FlowStatus } from '../../../domain/vocabulary.ts'
import type { StoredUpdate, UpdateRepository } from '../../repository.ts'
import { guarded } from '../database-errors.ts'
import { fromUpdateBatch, type UpdateCells } from '../journal/update-rows.ts'
import { canBeFlowId } from '../storable.ts'

const ROWS_PER_READ = 100

const READ_SQL = `select last_seq, batch from polyphony_flow_updates where flow_id = $1 and last_seq > $2 order by last_seq limit ${ROWS_PER_READ}`

const LAST_SEQ_SQL = 'select coalesce(max(last_seq), 0) as last_seq from polyphony_flow_updates where flow_id = $1'

const HEADS_SQL = `select f.id, f.status, coalesce((select max(u.last_seq) from polyphony_flow_updates u where u.flow_id = f.id), 0) as last_seq
from polyphony_flows f where f.id = any($1)`

// A flow that may be executed again keeps its last row, without updates, so that its numbers continue.
const PRUNE_SQL = `with settled as (
  select id, status from polyphony_flows where status in ('COMPLETED', 'FAILED', 'CANCELLED') and completed_at < $1),
kept as (
  select flow_id, max(last_seq) as last_seq from polyphony_flow_updates where flow_id in (select id from settled where status <> 'COMPLETED') group by flow_id),
emptied as (
  update polyphony_flow_updates u set batch = '[]' from kept k
  where u.flow_id = k.flow_id and u.last_seq = k.last_seq and json_array_length(u.batch) > 0 returning u.flow_id),
deleted as (
  delete from polyphony_flow_updates u where u.flow_id in (select id from settled)
  and not exists (select from kept k where k.flow_id = u.flow_id and k.last_seq = u.last_seq) returning u.flow_id)
select count(*) as flows from (select flow_id from emptied union select flow_id from deleted) touched`

export const createUpdateRepository = (pool: Pool): UpdateRepository => ({
  read: guarded(async (flowId: string, afterSeq: number, limit: number) => {
    const updates: StoredUpdate[] = []
    if (!canBeFlowId(flowId)) return updates
    for (let after = afterSeq; ; ) {
      const { rows } = await pool.query<{ last_seq: number; batch: readonly UpdateCells[] }>({
        name: 'polyphony_updates',
        text: READ_SQL,
        values: [flowId, after],
      })
      for (const { last_seq: lastSeq, batch } of rows) {
        for (const update of fromUpdateBatch(batch)) if (update.seq > afterSeq) updates.push(update)
        after = lastSeq
        if (updates.length >= limit) return updates
      }
      if (rows.length < ROWS_PER_READ) return updates
    }
  }),

  lastSeq: guarded(async (flowId: string) => {
    if (!canBeFlowId(flowId)) return 0
    const { rows } = await pool.query<{ last_seq: number }>(LAST_SEQ_SQL, [flowId])
    return rows[0]?.last_seq ?? 0
  }),

  heads: guarded(async (flowIds: readonly string[]) => {
    const { rows } = await pool.query<{ id: string; status: FlowStatus; last_seq: number }>({
      name: 'polyphony_heads',
      text: HEADS_SQL,
      values: [flowIds.filter(canBeFlowId)],
    })
    return new Map(rows.map(({ id, status, last_seq: lastSeq }) => [id, { status, lastSeq }]))
  }),

  prune: guarded(async (settledBefore: Date) => {
    const { rows } = await pool.query<{ flows: string }>(PRUNE_SQL, [settledBefore])
    return Number(rows[0]?.flows ?? 0)
  }),
})
