import type { Pool } from 'pg'
import { toStorableText } from '../../../domain/storable-text.ts'
import type { RequestCountRepository } from '../../repository.ts'
import { guarded } from '../database-errors.ts'

const COUNT_SQL = `insert into polyphony_request_counts as r (key, count, ends_at)
values ($1, 1, clock_timestamp() + $2::float8 * interval '1 millisecond')
on conflict (key) do update set
  count = case when r.ends_at <= clock_timestamp() then 1 else r.count + 1 end,
  ends_at = case when r.ends_at <= clock_timestamp() then excluded.ends_at else r.ends_at end
returning count, extract(epoch from ends_at - clock_timestamp())::float8 * 1000 as "leftMs"`

export const createRequestCountRepository = (pool: Pool): RequestCountRepository => ({
  count: guarded(async (key: string, windowMs: number) => {
    const { rows } = await pool.query<{ count: number; leftMs: number }>({
      name: 'polyphony_request_count',
      text: COUNT_SQL,
      values: [toStorableText(key), windowMs],
    })
    const [row] = rows
    return { count: row?.count ?? 1, leftMs: Math.max(0, row?.leftMs ?? windowMs) }
  }),

  prune: guarded(async () => {
    const { rowCount } = await pool.query('delete from polyphony_request_counts where ends_at <= clock_timestamp()')
    return rowCount ?? 0
  }),
})
