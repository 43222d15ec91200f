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

/** Conversations of the caller. */
export const createThreads = ({ send }: Transport) => {
  const list = (query: ThreadListQuery = {}, options?: CallOptions) =>
    send({ method: 'GET', path: ['threads'], query }, options, asJson<ThreadPage>)
  return {
    create: (thread: NewThread = {}, options?: KeyedCallOptions) =>
      send({ method: 'POST', path: ['threads'], body: thread, keyed: true }, options, asJson<Thread>),
    /** Newest first. */
    list,
    /** Every thread, page by page as the loop goes on. */
    all: (query: ThreadListQuery = {}, options?: CallOptions) => allPages(query, (next) => list(next, options)),
    get: (threadId: string, options?: CallOptions) =>
      send({ method: 'GET', path: ['threads', threadId] }, options, asJson<Thread>),
    /** Deletes the thread with its messages and flows. */
    delete: (threadId: string, options?: CallOptions) =>
      send({ method: 'DELETE', path: ['threads', threadId] }, options, asNothing),
  }
}

export const createMessages = ({ send }: Transport) => ({
  add: (threadId: string, message: NewMessage, options?: KeyedCallOptions) =>
    send({ method: 'POST', path: ['threads', threadId, 'messages'], body: message, keyed: true }, options, asJson<Message>),
  /** Oldest first; with `limit` the newest of them. */
  list: (threadId: string, query: MessageListQuery = {}, options?: CallOptions) =>
    send({ method: 'GET', path: ['threads', threadId, 'messages'], query }, options, asJson<MessagePage>),
})

/** Who may do what with a thread and its flows. */
export const createPermissions = ({ send }: Transport) => ({
  list: (threadId: string, options?: CallOptions) =>
    send({ method: 'GET', path: ['threads', threadId, 'permissions'] }, options, asJson<ThreadPermissions>),
  /** Gives the user these rights and no others; none takes all. */
  set: (threadId: string, userId: string, rights: ThreadRights, options?: CallOptions) =>
    send(
      { method: 'PUT', path: ['threads', threadId, 'permissions', userId], body: { rights } },
      options,
      asJson<ThreadPermission>,
    ),
})
