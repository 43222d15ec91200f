import { EntitySchema } from 'typeorm'
import { storableText } from '../storable.ts'

export interface ThreadRow {
  readonly id: string
  readonly userId: string
  readonly title: string | null
  readonly createdAt: Date
}

export const ThreadEntity = new EntitySchema<ThreadRow>({
  name: 'PolyphonyThread',
  tableName: 'polyphony_threads',
  columns: {
    id: { type: 'text', primary: true, primaryKeyConstraintName: 'polyphony_threads_pkey', transformer: storableText },
    userId: { type: 'text', name: 'user_id', transformer: storableText },
    title: { type: 'text', nullable: true, transformer: storableText },
    createdAt: { type: 'timestamptz', name: 'created_at' },
  },
  indices: [{ name: 'polyphony_threads_by_user', columns: ['userId', 'createdAt'] }],
})
