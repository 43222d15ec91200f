import type { PageCursor } from '../../domain/page-cursor.ts'
import type { DataSharingPolicy } from '../../domain/users/sharing.ts'
import type { Message, Thread, ThreadRight } from '../../domain/users/thread.ts'
import { threadNotFound } from '../../domain/users/thread.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { DataSharingRepository, PermissionRepository, ThreadRepository } from '../repository.ts'

interface ThreadRecord {
  readonly thread: Thread
  readonly messages: Message[]
}

export interface MemoryConversations {
  readonly threads: ThreadRepository
  readonly permissions: PermissionRepository
  readonly dataSharing: DataSharingRepository
  hasThread(threadId: string): boolean
  findRights(userId: string, threadId: string): readonly ThreadRight[]
  /** Adds messages of flows to their thread, each once. Messages for a deleted thread are dropped. */
  addFlowMessages(messages: readonly Message[]): void
}

const MAX_MESSAGES_PER_THREAD = 10_000

/**
 * Threads with messages, rights and sharing policies in plain Maps. Above `maxThreads` the oldest thread is removed.
 */
export function createMemoryConversations({ maxThreads }: { readonly maxThreads: number }): MemoryConversations {
  const records = new Map<string, ThreadRecord>()
  const rights = new Map<string, Map<string, readonly ThreadRight[]>>()
  const policies = new Map<string, Map<string, DataSharingPolicy>>()

  const findRights = (userId: string, threadId: string) => rights.get(threadId)?.get(userId) ?? []

  const remove = (threadId: string): boolean => {
    rights.delete(threadId)
    return records.delete(threadId)
  }

  /** Adds messages of one thread. */
  const addMessages = (messages: readonly Message[]): void => {
    const [first] = messages
    if (!first) return
    const record = records.get(first.threadId)
    if (!record) throw threadNotFound(first.threadId)
    record.messages.push(...messages)
    record.messages.splice(0, record.messages.length - MAX_MESSAGES_PER_THREAD)
  }

  const isKnown = ({ id, threadId }: Message): boolean =>
    records.get(threadId)?.messages.some((message) => message.id === id) ?? false

  const addFlowMessages = (messages: readonly Message[]): void => {
    for (const message of messages) {
      if (records.has(message.threadId) && !isKnown(message)) addMessages([message])
    }
  }

  const threads: ThreadRepository = {
    create: async (thread) => {
      if (records.has(thread.id)) throw new OrchestratorError('INTERNAL', `Expected a new thread id, found ${thread.id} in use.`)
      records.set(thread.id, { thread, messages: [] })
      if (records.size <= maxThreads) return
      const [oldestId] = records.keys()
      if (oldestId !== undefined) remove(oldestId)
    },
    find: async (threadId) => records.get(threadId)?.thread,
    list: async (userId, limit, offset, after) =>
      [...records.values()]
        .map(({ thread }) => thread)
        .filter((thread) => thread.userId === userId && (!after || newestFirst(toCursor(thread), after) > 0))
        .sort((a, b) => newestFirst(toCursor(a), toCursor(b)))
        .slice(offset, offset + limit),
    delete: async (threadId) => remove(threadId),
    addMessage: async (message) => {
      if (!isKnown(message)) addMessages([message])
    },
    addMessages: async (messages) => addMessages(messages),
    messages: async (threadId, limit, role) => {
      const all = records.get(threadId)?.messages ?? []
      const messages = role === undefined ? all : all.filter((message) => message.role === role)
      return messages.slice(limit === undefined ? 0 : Math.max(0, messages.length - limit))
    },
    findMessage: async (threadId, messageId) => records.get(threadId)?.messages.find(({ id }) => id === messageId),
    newestUserMessage: async (threadId) => records.get(threadId)?.messages.findLast((message) => message.role === 'user'),
  }

  const permissions: PermissionRepository = {
    rightsOf: async (userId, threadId) => findRights(userId, threadId),
    list: async (threadId) => Array.from(rights.get(threadId) ?? [], ([userId, held]) => ({ userId, rights: held })),
    set: async (threadId, userId, given) => {
      const users = rights.get(threadId) ?? new Map<string, readonly ThreadRight[]>()
      if (given.length === 0) users.delete(userId)
      else users.set(userId, given)
      if (users.size === 0) rights.delete(threadId)
      else rights.set(threadId, users)
    },
  }

  const dataSharing: DataSharingRepository = {
    find: async (userId, providerKey) => policies.get(userId)?.get(providerKey),
    list: async (userId) => [...(policies.get(userId)?.values() ?? [])],
    set: async (policy) => {
      const providers = policies.get(policy.userId) ?? new Map<string, DataSharingPolicy>()
      providers.set(policy.providerKey, policy)
      policies.set(policy.userId, providers)
    },
    remove: async (userId, providerKey) => {
      policies.get(userId)?.delete(providerKey)
    },
  }

  return { threads, permissions, dataSharing, hasThread: (threadId) => records.has(threadId), findRights, addFlowMessages }
}

const toCursor = ({ id, createdAt }: Thread): PageCursor => ({ id, value: createdAt })

/** Sorts positions of a list that shows the newest first. */
export const newestFirst = (a: PageCursor, b: PageCursor): number =>
  Number(b.value) - Number(a.value) || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0)
