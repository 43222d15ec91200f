import type { Pool } from 'pg'
import type { DataSource } from 'typeorm'
import { toStorableText } from '../../../domain/storable-text.ts'
import type { ApiKey } from '../../../domain/users/api-key.ts'
import { API_KEY_COLUMNS, type ApiKeyRow } from '../../columns/caller-columns.ts'
import { fieldsOf } from '../../columns/column.ts'
import type { ApiKeyRepository } from '../../repository.ts'
import { createBatchedRead } from '../batched-read.ts'
import { selectList } from '../column-sql.ts'
import { guarded } from '../database-errors.ts'
import { ApiKeyEntity } from '../entities.ts'
import { omitNulls, pickNonNull } from '../rows.ts'

const FIELDS = fieldsOf(API_KEY_COLUMNS)
const SELECTION = selectList(FIELDS)
const PUBLIC_PROPERTIES = FIELDS.map(({ property }) => property).filter((property) => property !== 'hash')

const REVOKE_SQL = `update polyphony_api_keys set revoked_at = coalesce(revoked_at, $2) where id = $1 returning ${SELECTION}`

const TOUCH_SQL = 'update polyphony_api_keys set last_used_at = $2 where id = $1 and (last_used_at is null or last_used_at < $2)'

const EXIST_SQL = 'select exists (select from polyphony_api_keys) as found'

export function createApiKeyRepository(dataSource: DataSource, pool: Pool): ApiKeyRepository {
  const keys = dataSource.getRepository(ApiKeyEntity)

  const findKey = createBatchedRead<string, ApiKeyRow | undefined>(async (ids) => {
    const { rows } = await pool.query<ApiKeyRow>({
      name: 'polyphony_api_keys',
      text: `select ${SELECTION} from polyphony_api_keys where id = any($1)`,
      values: [ids],
    })
    const found = new Map(rows.map((row) => [row.id, row]))
    return (id) => found.get(id)
  })

  return {
    create: guarded(async ({ scopes, expiresAt, revokedAt, lastUsedAt, ...key }: ApiKey, hash: string) => {
      const absent = { expiresAt: expiresAt ?? null, revokedAt: revokedAt ?? null, lastUsedAt: lastUsedAt ?? null }
      await keys.insert({ ...key, ...absent, scopes: [...scopes], hash })
    }),

    find: guarded(async (id: string) => {
      const row = await findKey(toStorableText(id))
      return row && { key: fromRow(row), hash: row.hash }
    }),

    list: guarded(async (userId?: string) => {
      const rows = await keys.find({ where: omitNulls({ userId }), order: { createdAt: 'DESC', id: 'DESC' } })
      return rows.map(fromRow)
    }),

    revoke: guarded(async (id: string, at: Date) => {
      const { rows } = await pool.query<ApiKeyRow>(REVOKE_SQL, [toStorableText(id), at])
      return rows[0] && fromRow(rows[0])
    }),

    touch: guarded(async (id: string, at: Date) => {
      await pool.query(TOUCH_SQL, [toStorableText(id), at])
    }),

    exist: guarded(async () => {
      const { rows } = await pool.query<{ found: boolean }>(EXIST_SQL)
      return rows[0]?.found ?? false
    }),
  }
}

const fromRow = (row: ApiKeyRow): ApiKey => pickNonNull(row, PUBLIC_PROPERTIES, {})
