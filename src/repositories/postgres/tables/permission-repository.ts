import type { Pool } from 'pg'
import type { DataSource } from 'typeorm'
import { toStorableText } from '../../../domain/storable-text.ts'
import type { ThreadRight } from '../../../domain/users/thread.ts'
import type { PermissionRepository } from '../../repository.ts'
import { createBatchedRead } from '../batched-read.ts'
import { guarded } from '../database-errors.ts'
import { ThreadPermissionEntity } from '../entities.ts'

interface PermissionKey {
  readonly user_id: string
  readonly thread_id: string
}

const RIGHTS_SQL = `select user_id, thread_id, rights from polyphony_thread_permissions
where (thread_id, user_id) in (select thread_id, user_id from json_to_recordset($1::json) as k(user_id text, thread_id text))`

export function createPermissionRepository(dataSource: DataSource, pool: Pool): PermissionRepository {
  const permissions = dataSource.getRepository(ThreadPermissionEntity)

  const findRights = createBatchedRead<PermissionKey, readonly ThreadRight[]>(async (keys) => {
    const { rows } = await pool.query<PermissionKey & { rights: ThreadRight[] }>({
      name: 'polyphony_rights',
      text: RIGHTS_SQL,
      values: [JSON.stringify(keys)],
    })
    const rights = new Map(rows.map((row) => [nameOf(row), row.rights]))
    return (key) => rights.get(nameOf(key)) ?? []
  })

  return {
    rightsOf: guarded((userId: string, threadId: string) =>
      findRights({ user_id: toStorableText(userId), thread_id: toStorableText(threadId) }),
    ),

    list: guarded(async (threadId: string) => {
      const rows = await permissions.find({ where: { threadId }, order: { userId: 'ASC' } })
      return rows.map(({ userId, rights }) => ({ userId, rights }))
    }),

    set: guarded(async (threadId: string, userId: string, rights: readonly ThreadRight[]) => {
      if (rights.length === 0) await permissions.delete({ threadId, userId })
      else await permissions.upsert({ threadId, userId, rights: [...rights] }, ['threadId', 'userId'])
    }),
  }
}

const nameOf = (key: PermissionKey): string => JSON.stringify([key.user_id, key.thread_id])
