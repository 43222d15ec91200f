import type { DataSharingPolicy } from '../../domain/users/sharing.ts'
import type { Attachment, Message, Thread, ThreadRight } from '../../domain/users/thread.ts'
import type { ColumnsOf, RowOf } from './column.ts'

export type ThreadRow = RowOf<Thread>

export const THREAD_COLUMNS = {
  id: { name: 'id', type: 'text', primary: true, storable: true },
  userId: { name: 'user_id', type: 'text', storable: true },
  title: { name: 'title', type: 'text', nullable: true, storable: true },
  createdAt: { name: 'created_at', type: 'timestamptz' },
} as const satisfies ColumnsOf<ThreadRow>

/** `recorded` orders messages of the same instant. */
export interface MessageRow extends RowOf<Omit<Message, 'attachments' | 'metadata'>> {
  readonly recorded: string
  readonly attachments: Attachment[] | null
  readonly metadata: object
}

export const MESSAGE_COLUMNS = {
  id: { name: 'id', type: 'text', primary: true, storable: true },
  threadId: { name: 'thread_id', type: 'text', storable: true },
  role: { name: 'role', type: 'text' },
  createdAt: { name: 'created_at', type: 'timestamptz' },
  recorded: { name: 'recorded', type: 'bigint' },
  content: { name: 'content', type: 'text', storable: true },
  attachments: { name: 'attachments', type: 'json', nullable: true, storable: true },
  metadata: { name: 'metadata', type: 'json', storable: true },
} as const satisfies ColumnsOf<MessageRow>

/** The rights of one user on one thread. A user without rights has no row. */
export interface PermissionRow {
  readonly threadId: string
  readonly userId: string
  readonly rights: ThreadRight[]
}

export const PERMISSION_COLUMNS = {
  threadId: { name: 'thread_id', type: 'text', primary: true, storable: true },
  userId: { name: 'user_id', type: 'text', primary: true, storable: true },
  rights: { name: 'rights', type: 'text', array: true },
} as const satisfies ColumnsOf<PermissionRow>

export const POLICY_COLUMNS = {
  userId: { name: 'user_id', type: 'text', primary: true, storable: true },
  providerKey: { name: 'provider_key', type: 'text', primary: true, storable: true },
  allowConversationHistory: { name: 'allow_conversation_history', type: 'boolean' },
  allowCrossProviderContext: { name: 'allow_cross_provider_context', type: 'boolean' },
  allowAttachments: { name: 'allow_attachments', type: 'boolean' },
} as const satisfies ColumnsOf<DataSharingPolicy>
