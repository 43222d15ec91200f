import { EntitySchema } from 'typeorm'
import type { Attachment, Message } from '../../../domain/users/thread.ts'
import { storableJson, storableText } from '../storable.ts'

export interface MessageRow {
  readonly id: string
  readonly threadId: string
  readonly role: Message['role']
  readonly createdAt: Date
  readonly recorded: string
  readonly content: string
  readonly attachments: Attachment[] | null
  readonly metadata: object
}

/** `recorded` orders messages of the same instant. */
export const MessageEntity = new EntitySchema<MessageRow>({
  name: 'PolyphonyMessage',
  tableName: 'polyphony_messages',
  columns: {
    id: { type: 'text', primary: true, primaryKeyConstraintName: 'polyphony_messages_pkey', transformer: storableText },
    threadId: { type: 'text', name: 'thread_id', transformer: storableText },
    role: { type: 'text' },
    createdAt: { type: 'timestamptz', name: 'created_at' },
    recorded: { type: 'bigint' },
    content: { type: 'text', transformer: storableText },
    attachments: { type: 'json', nullable: true, transformer: storableJson },
    metadata: { type: 'json', transformer: storableJson },
  },
  indices: [{ name: 'polyphony_messages_by_thread', columns: ['threadId', 'createdAt', 'recorded'] }],
})
