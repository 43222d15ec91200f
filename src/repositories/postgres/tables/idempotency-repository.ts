import { randomUUID } from 'node:crypto'
import type { Pool } from 'pg'
import { toStorableJson, toStorableText } from '../../../domain/storable-text.ts'
import type { IdempotencyState, IdempotentAnswer, IdempotentRequest } from '../../../domain/users/idempotency.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import type { IdempotencyRepository } from '../../repository.ts'
import { guarded } from '../database-errors.ts'

const BEGIN_SQL = `insert into polyphony_idempotency as held (user_id, key, fingerprint, lock, created_at, locked_until)
values ($1, $2, $3, $4, $5, $6)
on conflict (user_id, key) do update set lock = excluded.lock, created_at = excluded.created_at, locked_until = excluded.locked_until
where held.status_code is null and held.fingerprint = excluded.fingerprint and held.locked_until <= excluded.created_at
returning lock`

const FIND_SQL = 'select fingerprint, status_code, headers, body from polyphony_idempotency where user_id = $1 and key = $2'

const FINISH_SQL = `update polyphony_idempotency set status_code = $3, headers = $4, body = $5
where user_id = $1 and key = $2 and status_code is null and lock = coalesce($6, lock)`

const RELEASE_SQL = `delete from polyphony_idempotency
where user_id = $1 and key = $2 and status_code is null and lock = coalesce($3, lock)`

/**
 * Maximum number of attempts to reserve a key. Another attempt is needed when the holder releases the key between two
 * statements.
 */
const MAX_ATTEMPTS = 10

export function createIdempotencyRepository(pool: Pool): IdempotencyRepository {
  async function find(primaryKey: readonly string[], fingerprint: string): Promise<IdempotencyState | undefined> {
    const { rows } = await pool.query<{
      fingerprint: string
      status_code: number | null
      headers: Readonly<Record<string, string>> | null
      body: string | null
    }>({ name: 'polyphony_idempotency_find', text: FIND_SQL, values: [...primaryKey] })
    const [row] = rows
    if (!row) return undefined
    if (row.fingerprint !== fingerprint) return { state: 'other_request' }
    if (row.status_code === null) return { state: 'running' }
    return { state: 'done', answer: { statusCode: row.status_code, headers: row.headers ?? {}, body: row.body ?? '' } }
  }

  return {
    begin: guarded(async ({ userId, key, fingerprint, now, lockedUntil }: IdempotentRequest): Promise<IdempotencyState> => {
      const primaryKey = [toStorableText(userId), toStorableText(key)]
      const storable = toStorableText(fingerprint)
      const lock = randomUUID()
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        const { rows } = await pool.query({
          name: 'polyphony_idempotency_begin',
          text: BEGIN_SQL,
          values: [...primaryKey, storable, lock, now, lockedUntil],
        })
        if (rows.length > 0) return { state: 'new', lock }
        const found = await find(primaryKey, storable)
        if (found) return found
      }
      throw new OrchestratorError(
        'DATABASE_UNAVAILABLE',
        'Other requests keep reserving and releasing this Idempotency-Key: send the request again',
      )
    }),

    finish: guarded(async (userId: string, key: string, { statusCode, headers, body }: IdempotentAnswer, lock?: string) => {
      const primaryKey = [toStorableText(userId), toStorableText(key)]
      await pool.query(FINISH_SQL, [...primaryKey, statusCode, toStorableJson(headers), toStorableText(body), lock ?? null])
    }),

    release: guarded(async (userId: string, key: string, lock?: string) => {
      await pool.query(RELEASE_SQL, [toStorableText(userId), toStorableText(key), lock ?? null])
    }),

    prune: guarded(async (olderThan: Date) => {
      const { rowCount } = await pool.query('delete from polyphony_idempotency where created_at < $1', [olderThan])
      return rowCount ?? 0
    }),
  }
}
