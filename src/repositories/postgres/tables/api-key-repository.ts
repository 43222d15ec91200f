import type { Pool } from 'pg'
import type { DataSource } from 'typeorm'
import type { ApiKey, Scope } from '../../../domain/users/api-key.ts'
import type { ApiKeyRepository } from '../../repository.ts'
import { createBatchedRead } from '../batched-read.ts'
import { guarded } from '../database-errors.ts'
import { ApiKeyEntity, type ApiKeyRow } from '../entities/api-key.ts'
import { present, toStorableText } from '../storable.ts'

/** A key's row as plain SQL returns it. */
interface ApiKeyRecord {
  readonly id: string
  readonly user_id: string
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly hash: string
  readonly created_at: Date
  readonly expires_at: Date | null
  readonly revoked_at: Date | null
  readonly last_used_at: Date | null
}

const REVOKE_SQL = 'update polyphony_api_keys set revoked_at = coalesce(revoked_at, $2) where id = $1 returning *'

const TOUCH_SQL = 'update polyphony_api_keys set last_used_at = $2 where id = $1 and (last_used_at is null or last_used_at < $2)'

const EXIST_SQL = 'select exists (select from polyphony_api_keys) as found'

export function createApiKeyRepository(dataSource: DataSource, pool: Pool): ApiKeyRepository {
  const keys = dataSource.getRepository(ApiKeyEntity)

  const findKey = createBatchedRead<string, ApiKeyRecord | undefined>(async (ids) => {
    const { rows } = await pool.query<ApiKeyRecord>({
      name: 'polyphony_api_keys',
      text: 'select * from polyphony_api_keys where id = any($1)',
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
      return row && { key: fromRecord(row), hash: row.hash }
    }),

    list: guarded(async (userId?: string) => {
      const rows = await keys.find({ where: present({ userId }), order: { createdAt: 'DESC', id: 'DESC' } })
      return rows.map(fromRow)
    }),

    revoke: guarded(async (id: string, at: Date) => {
      const { rows } = await pool.query<ApiKeyRecord>(REVOKE_SQL, [toStorableText(id), at])
      return rows[0] && fromRecord(rows[0])
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

const fromRow = ({ id, userId, name, scopes, createdAt, expiresAt, revokedAt, lastUsedAt }: Omit<ApiKeyRow, 'hash'>): ApiKey => ({
  id,
  userId,
  name,
  scopes,
  createdAt,
  ...present({ expiresAt, revokedAt, lastUsedAt }),
})

const fromRecord = (row: ApiKeyRecord): ApiKey =>
  fromRow({
    id: row.id,
    userId: row.user_id,
    name: row.name,
    scopes: [...row.scopes],
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at,
    lastUsedAt: row.last_used_at,
  })
