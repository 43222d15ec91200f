import { EntitySchema } from 'typeorm'
import type { ThreadRight } from '../../../domain/users/thread.ts'
import { storableText } from '../storable.ts'

export interface ThreadPermissionRow {
  readonly threadId: string
  readonly userId: string
  readonly rights: ThreadRight[]
}

const primaryKeyConstraintName = 'polyphony_thread_permissions_pkey'

export const ThreadPermissionEntity = new EntitySchema<ThreadPermissionRow>({
  name: 'PolyphonyThreadPermission',
  tableName: 'polyphony_thread_permissions',
  columns: {
    threadId: { type: 'text', name: 'thread_id', primary: true, primaryKeyConstraintName, transformer: storableText },
    userId: { type: 'text', name: 'user_id', primary: true, primaryKeyConstraintName, transformer: storableText },
    rights: { type: 'text', array: true },
  },
})
