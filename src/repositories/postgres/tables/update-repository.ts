import type { Pool } from 'pg'
import { toStorableJson } from '../../../domain/storable-text.ts'
import type { FlowStatus } from '../../../domain/vocabulary.ts'
import type { StoredUpdate, UpdateRepository } from '../../repository.ts'
import { createBatchedRead } from '../batched-read.ts'
import { guarded } from '../database-errors.ts'
import { joinBatches, type StoredBatch } from '../journal/joined-updates.ts'
import { fromUpdateBatch } from '../journal/update-rows.ts'
import { canBeFlowId } from '../storable.ts'

/** Rows of one statement, for all flows that are read together: it limits the memory that they take. */
const ROWS_PER_READ = 100
const FLOWS_PER_READ = 50
const ROWS_PER_COMPACTION = 200

/** `$1`: ids of flows; `$2`: for each the number after which its rows are read; `$3`: rows per flow. */
const READ_SQL = `select k.position, u.last_seq, u.batch from unnest($1::uuid[], $2::int[]) with ordinality k(flow_id, after_seq, position)
cross join lateral (
  select last_seq, batch from polyphony_flow_updates where flow_id = k.flow_id and last_seq > k.after_seq order by last_seq limit $3) u
order by k.position, u.last_seq`

/** Rows of one flow after a number, as far as one statement reads them. */
interface BatchPage {
  readonly rows: readonly StoredBatch[]
  readonly isLast: boolean
}

interface BatchPageKey {
  readonly flowId: string
  readonly afterSeq: number
}

const LAST_SEQ_SQL = 'select coalesce(max(last_seq), 0) as last_seq from polyphony_flow_updates where flow_id = $1'

const HEADS_SQL = `select f.id, f.status, coalesce((select max(u.last_seq) from polyphony_flow_updates u where u.flow_id = f.id), 0) as last_seq
from polyphony_flows f where f.id = any($1)`

const COMPACT_READ_SQL =
  'select last_seq, batch from polyphony_flow_updates where flow_id = $1 and last_seq > $2 order by last_seq limit $3'

/**
 * `$1`: id of the flow; `$2`: the joined rows. The last row of each group takes the updates of the group. A row that
 * was pruned in the meantime is not filled again.
 */
const COMPACT_WRITE_SQL = `with joined as (
  select * from json_to_recordset($2::json) as r(first_seq int, last_seq int, batch json)),
written as (
  update polyphony_flow_updates u set batch = j.batch from joined j
  where u.flow_id = $1 and u.last_seq = j.last_seq and json_array_length(u.batch) > 0 returning u.last_seq)
delete from polyphony_flow_updates u using joined j
where u.flow_id = $1 and u.last_seq >= j.first_seq and u.last_seq < j.last_seq and j.last_seq in (select last_seq from written)`

// "polyprun" in ASCII. One process at a time removes updates; the others find the lock taken and do nothing.
const PRUNE_LOCK = '8101813523932378478'

// A flow that may be executed again keeps its last row, without updates, so that its numbers continue.
const PRUNE_SQL = `with turn as materialized (select pg_try_advisory_xact_lock(${PRUNE_LOCK}) as is_ours),
settled as (
  select id, status from polyphony_flows
  where (select is_ours from turn) and status in ('COMPLETED', 'FAILED', 'CANCELLED') and completed_at < $1),
kept as (
  select flow_id, max(last_seq) as last_seq from polyphony_flow_updates where flow_id in (select id from settled where status <> 'COMPLETED') group by flow_id),
emptied as (
  update polyphony_flow_updates u set batch = '[]' from kept k
  where u.flow_id = k.flow_id and u.last_seq = k.last_seq and json_array_length(u.batch) > 0 returning u.flow_id),
deleted as (
  delete from polyphony_flow_updates u where u.flow_id in (select id from settled)
  and not exists (select from kept k where k.flow_id = u.flow_id and k.last_seq = u.last_seq) returning u.flow_id)
select count(*) as flows from (select flow_id from emptied union select flow_id from deleted) touched`

export const createUpdateRepository = (pool: Pool): UpdateRepository => {
  const readPage = createPageReader(pool)
  return {
    read: guarded(async (flowId: string, afterSeq: number, limit: number) => {
      const updates: StoredUpdate[] = []
      if (!canBeFlowId(flowId)) return updates
      for (let after = afterSeq; ; ) {
        const { rows, isLast } = await readPage({ flowId, afterSeq: after })
        for (const { last_seq: lastSeq, batch } of rows) {
          // Between two pages the rows may have been joined, so that the next row begins with updates of the last page.
          for (const update of fromUpdateBatch(batch, after)) updates.push(update)
          after = lastSeq
          if (updates.length >= limit) return updates
        }
        if (isLast) return updates
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

    compact: guarded(async (flowId: string) => {
      if (!canBeFlowId(flowId)) return
      for (let after = 0; ; ) {
        const { rows } = await pool.query<StoredBatch>(COMPACT_READ_SQL, [flowId, after, ROWS_PER_COMPACTION])
        const joined = joinBatches(rows)
        if (joined.length > 0) await pool.query(COMPACT_WRITE_SQL, [flowId, toStorableJson(joined)])
        after = rows.at(-1)?.last_seq ?? after
        if (rows.length < ROWS_PER_COMPACTION) return
      }
    }),

    prune: guarded(async (settledBefore: Date) => {
      const { rows } = await pool.query<{ flows: string }>(PRUNE_SQL, [settledBefore])
      return Number(rows[0]?.flows ?? 0)
    }),
  }
}

/**
 * Reads of many flows share statements: when a notification wakes the subscribers of a thousand flows, they take a few
 * dozen statements.
 */
const createPageReader = (pool: Pool) =>
  createBatchedRead<BatchPageKey, BatchPage>(async (keys) => {
    const pages = new Map<BatchPageKey, BatchPage>()
    for (let start = 0; start < keys.length; start += FLOWS_PER_READ) {
      const chunk = keys.slice(start, start + FLOWS_PER_READ)
      const rowsPerFlow = Math.max(4, Math.floor(ROWS_PER_READ / chunk.length))
      const { rows } = await pool.query<StoredBatch & { readonly position: string }>({
        name: 'polyphony_updates',
        text: READ_SQL,
        values: [chunk.map(({ flowId }) => flowId), chunk.map(({ afterSeq }) => afterSeq), rowsPerFlow],
      })
      const rowsOf: StoredBatch[][] = chunk.map(() => [])
      for (const row of rows) rowsOf[Number(row.position) - 1]?.push(row)
      for (const [index, found] of rowsOf.entries()) {
        const key = chunk[index]
        if (key) pages.set(key, { rows: found, isLast: found.length < rowsPerFlow })
      }
    }
    return (key) => pages.get(key) ?? { rows: [], isLast: true }
  })
