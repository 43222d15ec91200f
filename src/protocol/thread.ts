import * as z from 'zod'
import { MAX_ATTACHMENTS } from '../domain/users/new-attachment.ts'
import { THREAD_RIGHTS } from '../domain/users/thread.ts'
import { attachment, givenAttachment } from './file.ts'
import { arrayOf, id, instant, pageOf, queryInteger } from './instant.ts'

export const thread = z.object({ id: z.string(), userId: z.string(), title: z.string().optional(), createdAt: instant })
export const threadPage = pageOf(thread)

export const newThread = z.strictObject({ title: z.string().max(500).optional() })

export const message = z.object({
  id: z.string(),
  threadId: z.string(),
  role: z.enum(['user', 'assistant', 'system']),
  content: z.string(),
  attachments: arrayOf(attachment).optional(),
  metadata: z.record(z.string(), z.unknown()),
  createdAt: instant,
})
export const messagePage = pageOf(message)

export const newMessage = z.strictObject({
  role: z.enum(['user', 'assistant', 'system']),
  content: z.string().max(5_000_000),
  attachments: z.array(givenAttachment).max(MAX_ATTACHMENTS).optional(),
  metadata: z.record(z.string(), z.unknown()).optional(),
})

export const threadParams = z.object({ threadId: id })
export const threadListQuery = z.strictObject({
  limit: queryInteger(1, 1_000).optional(),
  offset: queryInteger(0, 1_000_000).optional(),
  cursor: z.string().max(1_000).optional(),
})
export const messageListQuery = z.strictObject({ limit: queryInteger(1, 10_000).optional() })

const rights = z.array(z.enum(THREAD_RIGHTS))
export const threadPermission = z.object({ userId: z.string(), rights: rights.readonly() })
export const threadPermissions = z.object({ items: arrayOf(threadPermission) })
/** All rights of the user from now on. An empty list revokes all. */
export const newPermission = z.strictObject({ rights: rights.max(THREAD_RIGHTS.length) })
export const permissionParams = z.object({ threadId: id, userId: id })
