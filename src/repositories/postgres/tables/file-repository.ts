import type { Pool } from 'pg'
import type { PageCursor } from '../../../domain/page-cursor.ts'
import { toStorableText } from '../../../domain/storable-text.ts'
import type { StoredFile } from '../../../domain/users/file.ts'
import { fieldsOf } from '../../columns/column.ts'
import { FILE_COLUMNS, type FileRow } from '../../columns/file-columns.ts'
import type { FileAddition, FileRepository } from '../../repository.ts'
import { guarded } from '../database-errors.ts'
import { pickNonNull } from '../rows.ts'
import { inTransaction } from '../transaction.ts'

const SELECTED = fieldsOf(FILE_COLUMNS)
  .map(({ property, name }) => `${name} as "${property}"`)
  .join(', ')
const PROPERTIES = fieldsOf(FILE_COLUMNS).map(({ property }) => property)

/** Key of the locks under which the bytes of one user are counted. The number must only stay the same. */
const USER_LOCK = 1_718_185_061

const LOCK_USER_SQL = `select pg_advisory_xact_lock(${USER_LOCK}, hashtext($1))`

// The update of `added_at` locks the bytes, so that a concurrent removal of unused bytes sees that they are used again.
const ADD_SQL = `with used as (
  select coalesce(sum(byte_length), 0) as bytes, coalesce(bool_or(sha256 = $7), false) as has_content
  from (select distinct sha256, byte_length from polyphony_files where user_id = $2) as contents),
room as (select from used where has_content or $10::float8 is null or bytes + $6::int <= $10::float8),
given as (
  insert into polyphony_file_contents as content (sha256, data, added_at)
  select $7, $9::bytea, $8::timestamptz from room where $9::bytea is not null
  on conflict (sha256) do update set added_at = greatest(content.added_at, excluded.added_at) returning sha256),
known as (
  update polyphony_file_contents content set added_at = greatest(content.added_at, $8::timestamptz)
  where $9::bytea is null and sha256 = $7 and exists (select from room) returning sha256),
added as (
  insert into polyphony_files (id, user_id, thread_id, name, media_type, byte_length, sha256, created_at)
  select $1, $2, $3, $4, $5, $6::int, c.sha256, $8::timestamptz from (select sha256 from given union all select sha256 from known) c
  on conflict (id) do nothing)
select used.bytes, exists (select from room) as "hasRoom",
  exists (select from given) or exists (select from known) as "hasContent" from used`

interface AddedRow {
  readonly bytes: string
  readonly hasRoom: boolean
  readonly hasContent: boolean
}

const FIND_SQL = `select ${SELECTED} from polyphony_files where id = any($1::text[])`

const LIST_SQL = `select ${SELECTED} from polyphony_files
where user_id = $1 and ($2::timestamptz is null or (created_at, id) < ($2::timestamptz, $3::text))
order by created_at desc, id desc limit $4`

const PRUNE_FILES_SQL = 'delete from polyphony_files where created_at < $1'

const PRUNE_CONTENTS_SQL = `delete from polyphony_file_contents content
where added_at < $1 and not exists (select from polyphony_files file where file.sha256 = content.sha256)`

/** Files in two tables: their facts by id, and their bytes by hash. */
export const createFileRepository = (pool: Pool): FileRepository => ({
  add: guarded(async (file: StoredFile, data: Uint8Array | undefined, maxUserBytes?: number): Promise<FileAddition> => {
    const { id, userId, threadId, name, mediaType, byteLength, sha256, createdAt } = file
    const texts = [id, userId, threadId ?? null, name, mediaType].map((text) => text && toStorableText(text))
    const values = [...texts, byteLength, sha256, createdAt, data ?? null, maxUserBytes ?? null]
    const { rows } = await inTransaction(pool, async (client) => {
      await client.query(LOCK_USER_SQL, [toStorableText(userId)])
      // The snapshot of this statement has what others have added before the lock was given.
      return client.query<AddedRow>({ name: 'polyphony_add_file', text: ADD_SQL, values })
    })
    const [row] = rows
    const usedBytes = Number(row?.bytes ?? 0)
    if (!row?.hasRoom) return { outcome: 'full', usedBytes }
    return { outcome: row.hasContent ? 'added' : 'missing', usedBytes }
  }),

  find: guarded(async (ids: readonly string[]) => {
    const { rows } = await pool.query<FileRow>({
      name: 'polyphony_find_files',
      text: FIND_SQL,
      values: [ids.map(toStorableText)],
    })
    return rows.map(fromRow)
  }),

  list: guarded(async (userId: string, limit: number, after?: PageCursor) => {
    const values = [toStorableText(userId), after?.value ?? null, after?.id ?? null, limit]
    const { rows } = await pool.query<FileRow>({ name: 'polyphony_list_files', text: LIST_SQL, values })
    return rows.map(fromRow)
  }),

  readContent: guarded(async (sha256: string) => {
    const { rows } = await pool.query<{ data: Uint8Array }>({
      name: 'polyphony_read_file',
      text: 'select data from polyphony_file_contents where sha256 = $1',
      values: [sha256],
    })
    return rows[0]?.data
  }),

  remove: guarded(async (id: string) => {
    const { rowCount } = await pool.query('delete from polyphony_files where id = $1', [toStorableText(id)])
    return (rowCount ?? 0) > 0
  }),

  prune: guarded(async ({ filesBefore, unusedBefore }: Parameters<FileRepository['prune']>[0]) => {
    if (filesBefore) await pool.query(PRUNE_FILES_SQL, [filesBefore])
    await pool.query(PRUNE_CONTENTS_SQL, [unusedBefore])
  }),
})

const fromRow = (row: FileRow): StoredFile => pickNonNull(row, PROPERTIES, {})
