import * as z from 'zod'
import { requireRight, THREAD_RIGHTS, type ThreadRight } from '../../../domain/users/thread.ts'
import type { PermissionService } from '../../../policies/policy.ts'
import {
  message,
  messageListQuery,
  messagePage,
  newMessage,
  newPermission,
  newThread,
  permissionParams,
  thread,
  threadListQuery,
  threadPage,
  threadParams,
  threadPermission,
  threadPermissions,
} from '../../../protocol/thread.ts'
import { API, callerOf, type Routes } from '../../requests/routes.ts'
import type { ServerDeps } from '../../server-deps.ts'

const tags = ['threads']

/** Conversations and their messages. */
export const threadRoutes =
  ({ conversations }: ServerDeps): Routes =>
  async (app) => {
    app.post(
      '/threads',
      {
        schema: { operationId: 'createThread', tags, summary: 'Create a thread', body: newThread, response: { 201: thread } },
        config: { scope: 'write', idempotent: true },
      },
      async (request, reply) => {
        const created = await conversations.createThread(callerOf(request).userId, request.body)
        reply.code(201).header('location', `${API}/threads/${created.id}`)
        return created
      },
    )

    app.get(
      '/threads',
      {
        schema: {
          operationId: 'listThreads',
          tags,
          summary: 'List your threads, newest first',
          querystring: threadListQuery,
          response: { 200: threadPage },
        },
        config: { scope: 'read' },
      },
      async (request) => {
        const { threads, nextCursor } = await conversations.listThreadPage(callerOf(request).userId, request.query)
        return { items: threads, nextCursor }
      },
    )

    app.get(
      '/threads/:threadId',
      {
        schema: { operationId: 'getThread', tags, summary: 'Read a thread', params: threadParams, response: { 200: thread } },
        config: { scope: 'read' },
      },
      (request) => conversations.getThread(request.params.threadId, callerOf(request).userId),
    )

    app.delete(
      '/threads/:threadId',
      {
        schema: {
          operationId: 'deleteThread',
          tags,
          summary: 'Delete a thread with its messages and flows',
          params: threadParams,
          response: { 204: z.undefined() },
        },
        config: { scope: 'write' },
      },
      async (request, reply) => {
        await conversations.deleteThread(request.params.threadId, callerOf(request).userId)
        reply.code(204)
      },
    )

    app.post(
      '/threads/:threadId/messages',
      {
        schema: {
          operationId: 'addMessage',
          tags,
          summary: 'Add a message',
          params: threadParams,
          body: newMessage,
          response: { 201: message },
        },
        config: { scope: 'write', idempotent: true },
      },
      async (request, reply) => {
        reply.code(201)
        return conversations.addMessage(request.params.threadId, callerOf(request).userId, request.body)
      },
    )

    app.get(
      '/threads/:threadId/messages',
      {
        schema: {
          operationId: 'listMessages',
          tags,
          summary: 'Read the messages, oldest first; with `limit` the newest of them',
          params: threadParams,
          querystring: messageListQuery,
          response: { 200: messagePage },
        },
        config: { scope: 'read' },
      },
      async (request) => ({
        items: await conversations.getMessages(request.params.threadId, callerOf(request).userId, request.query),
      }),
    )
  }

/** The rights of users on a thread and its flows. */
export const permissionRoutes =
  ({ permissions }: ServerDeps): Routes =>
  async (app) => {
    app.get(
      '/threads/:threadId/permissions',
      {
        schema: {
          operationId: 'listPermissions',
          tags,
          summary: 'List the rights of all users of a thread',
          params: threadParams,
          response: { 200: threadPermissions },
        },
        config: { scope: 'read' },
      },
      async (request) => ({ items: await permissions.list(request.params.threadId, callerOf(request).userId) }),
    )

    app.put(
      '/threads/:threadId/permissions/:userId',
      {
        schema: {
          operationId: 'setPermission',
          tags,
          summary: 'Set the rights of a user; rights that are not listed are removed',
          params: permissionParams,
          body: newPermission,
          response: { 200: threadPermission },
        },
        config: { scope: 'share' },
      },
      async (request) => {
        const { threadId, userId } = request.params
        const by = callerOf(request).userId
        const rights = THREAD_RIGHTS.filter((right) => request.body.rights.includes(right))
        await setRights(permissions, { threadId, by, userId, rights })
        return { userId, rights }
      },
    )
  }

interface RightsToSet {
  readonly threadId: string
  readonly by: string
  readonly userId: string
  readonly rights: readonly ThreadRight[]
}

/**
 * Grants and revokes the rights that differ. Rejects with PERMISSION_DENIED, without any change, when the caller lacks
 * one of them.
 */
async function setRights(permissions: PermissionService, { threadId, by, userId, rights }: RightsToSet): Promise<void> {
  const members = await permissions.list(threadId, by)
  const held = members.find((member) => member.userId === userId)?.rights ?? []
  const added = rights.filter((right) => !held.includes(right))
  const removed = held.filter((right) => !rights.includes(right))
  const own = await permissions.rightsOf(by, threadId)
  for (const right of [...added, ...removed]) requireRight(own, threadId, right)
  // Revoked first, because this may be refused for another reason: the rights of the creator cannot be revoked.
  if (removed.length > 0) await permissions.revoke(threadId, by, userId, removed)
  if (added.length > 0) await permissions.grant(threadId, by, userId, added)
}
