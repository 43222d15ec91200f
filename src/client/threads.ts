import { allPages } from './http/pages.ts'
import { asJson, asNothing, type CallOptions, type KeyedCallOptions, type Transport } from './http/transport.ts'
import type {
  Message,
  MessageListQuery,
  MessagePage,
  NewMessage,
  NewThread,
  Thread,
  ThreadListQuery,
  ThreadPage,
  ThreadPermission,
  ThreadPermissions,
  ThreadRights,
} from './wire.ts'

/**
 * Conversations of the caller.
 *
 * ```ts
 * const thread = await client.threads.create({ title: 'Rain' })
 * for await (const { id, title } of client.threads.all()) console.log(id, title)
 * ```
 */
export const createThreads = ({ send }: Transport) => {
  const list = (query: ThreadListQuery = {}, options?: CallOptions) =>
    send({ method: 'GET', path: ['threads'], query }, options, asJson<ThreadPage>)
  return {
    /** Creates a thread that belongs to the caller. */
    create: (thread: NewThread = {}, options?: KeyedCallOptions) =>
      send({ method: 'POST', path: ['threads'], body: thread, keyed: true }, options, asJson<Thread>),
    /** One page of threads, newest first. */
    list,
    /** All threads, newest first; a page is requested when the loop reaches it. */
    all: (query: ThreadListQuery = {}, options?: CallOptions) => allPages(query, (next) => list(next, options)),
    /** Rejects with THREAD_NOT_FOUND for an unknown thread and for one that the caller may not read. */
    get: (threadId: string, options?: CallOptions) =>
      send({ method: 'GET', path: ['threads', threadId] }, options, asJson<Thread>),
    /** Deletes the thread with its messages and flows. */
    delete: (threadId: string, options?: CallOptions) =>
      send({ method: 'DELETE', path: ['threads', threadId] }, options, asNothing),
  }
}

/** Messages of a thread. */
export const createMessages = ({ send }: Transport) => ({
  /** Adds a message to the end of a thread; runs nothing. */
  add: (threadId: string, message: NewMessage, options?: KeyedCallOptions) =>
    send({ method: 'POST', path: ['threads', threadId, 'messages'], body: message, keyed: true }, options, asJson<Message>),
  /** Messages of a thread, oldest first; with `limit` only the newest ones. */
  list: (threadId: string, query: MessageListQuery = {}, options?: CallOptions) =>
    send({ method: 'GET', path: ['threads', threadId, 'messages'], query }, options, asJson<MessagePage>),
})

/** Rights of users on a thread and its flows. */
export const createPermissions = ({ send }: Transport) => ({
  /** Users with rights on the thread, and their rights. */
  list: (threadId: string, options?: CallOptions) =>
    send({ method: 'GET', path: ['threads', threadId, 'permissions'] }, options, asJson<ThreadPermissions>),
  /** Replaces the rights of a user; an empty list removes all of them. */
  set: (threadId: string, userId: string, rights: ThreadRights, options?: CallOptions) =>
    send(
      { method: 'PUT', path: ['threads', threadId, 'permissions', userId], body: { rights } },
      options,
      asJson<ThreadPermission>,
    ),
})
