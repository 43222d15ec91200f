import * as z from 'zod'
import { parseCursor, toCursorText } from '../domain/page-cursor.ts'
import { newAttachments, type ResolveAttachments } from '../domain/users/new-attachment.ts'
import type { Attachment, Message, Thread, ThreadRight } from '../domain/users/thread.ts'
import { requireRight, threadNotFound } from '../domain/users/thread.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { PermissionService } from '../policies/policy.ts'
import type { FlowRepository, ThreadRepository } from '../repositories/repository.ts'
import { parseInput } from './parse-input.ts'

export interface ConversationServiceDeps {
  readonly threads: ThreadRepository
  readonly flows: Pick<FlowRepository, 'list'>
  readonly permissions: Pick<PermissionService, 'can' | 'rightsOf' | 'threadCreated' | 'threadDeleted'>
  /** Implemented by createAttachments. */
  readonly attachments: ResolveAttachments
  /** Unique ids of threads and messages; default UUIDs. */
  readonly newId?: () => string
  /** Makes the id of a new thread; default: as `newId` does. Implemented by openRecording. */
  readonly newThreadId?: (title: string | undefined) => Promise<string>
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

const isJson = (value: unknown) => {
  try {
    return JSON.stringify(value) !== undefined
  } catch {
    return false
  }
}
const copyJson = (value: Record<string, unknown>): Record<string, unknown> => JSON.parse(JSON.stringify(value))

const id = z
  .string()
  .min(1)
  .max(200)
  // Postgres rejects NUL in text.
  .regex(/^[^\0]*$/, 'expected a string without NUL')
const threadOptions = z.strictObject({ title: z.string().max(500).optional() })
const pageOptions = z.strictObject({
  limit: z.number().int().min(1).max(1_000).default(50),
  offset: z.number().int().min(0).default(0),
  /** `nextCursor` of the previous page; not together with `offset`. */
  cursor: z.string().max(1_000).optional(),
})
const messageOptions = z.strictObject({ limit: z.number().int().min(1).max(10_000).optional() })
const addMessageOptions = z.strictObject({ id: id.optional() })
const newMessage = z.strictObject({
  role: z.enum(['user', 'assistant', 'system']),
  content: z.string().max(5_000_000),
  attachments: newAttachments.optional(),
  metadata: z
    .record(z.string(), z.unknown())
    .refine(isJson, 'expected values that JSON can hold')
    .transform(copyJson)
    .default({}),
})

export type ThreadOptions = z.input<typeof threadOptions>
export type PageOptions = z.input<typeof pageOptions>
export type NewMessage = z.input<typeof newMessage>
export type AddMessageOptions = z.input<typeof addMessageOptions>

/** One page of a list of threads. */
export interface ThreadPage {
  readonly threads: readonly Thread[]
  /** `cursor` of the next page; absent on the last one. */
  readonly nextCursor?: string
}

const THREAD_ORDER = { name: 'threads by createdAt DESC', by: 'instant' } as const

/**
 * Conversations of users. Without `read` access the error is THREAD_NOT_FOUND as for an unknown thread, so ids cannot
 * be probed; with `read` and without another required right it is PERMISSION_DENIED. Invalid arguments are
 * INPUT_INVALID.
 *
 * ```ts
 * const { id } = await polyphony.conversations.createThread('ada', { title: 'Rain' })
 * await polyphony.conversations.addMessage(id, 'ada', { role: 'user', content: 'Why does it rain?' })
 * ```
 */
export class ConversationService {
  readonly #threads: ThreadRepository
  readonly #flows: Pick<FlowRepository, 'list'>
  readonly #permissions: ConversationServiceDeps['permissions']
  readonly #attachments: ResolveAttachments
  readonly #newId: () => string
  readonly #newThreadId: ConversationServiceDeps['newThreadId']
  readonly #now: () => number

  constructor(deps: ConversationServiceDeps) {
    const { threads, flows, permissions, attachments, newId = () => crypto.randomUUID(), newThreadId, now = Date.now } = deps
    this.#attachments = attachments
    this.#threads = threads
    this.#flows = flows
    this.#permissions = permissions
    this.#newId = newId
    this.#newThreadId = newThreadId
    this.#now = now
  }

  /** Creates a thread; the user becomes its creator with all rights. */
  async createThread(userId: string, options: ThreadOptions = {}): Promise<Thread> {
    const creator = parseInput(id, userId, 'userId')
    const { title } = parseInput(threadOptions, options, 'options')
    const createdAt = new Date(this.#now())
    const threadId = this.#newThreadId ? await this.#newThreadId(title) : this.#newId()
    const thread = { id: threadId, userId: creator, ...(title === undefined ? {} : { title }), createdAt }
    await this.#threads.create(thread)
    try {
      await this.#permissions.threadCreated(thread.id, creator)
    } catch (error) {
      // Without this check no user would have rights on the thread.
      await this.#threads.delete(thread.id)
      throw error
    }
    return thread
  }

  /** Needs `read`. */
  async getThread(threadId: string, userId: string): Promise<Thread> {
    return this.#requireThread(threadId, userId, 'read')
  }

  /** Threads that the user created, newest first; at most `limit`, by default 50. */
  async listThreads(userId: string, options: PageOptions = {}): Promise<readonly Thread[]> {
    return (await this.listThreadPage(userId, options)).threads
  }

  /**
   * One page of listThreads. Threads that the user may no longer read are left out, so a page may hold fewer than
   * `limit`.
   */
  async listThreadPage(userId: string, options: PageOptions = {}): Promise<ThreadPage> {
    const { limit, offset, cursor } = parseInput(pageOptions, options, 'options')
    const after = cursor === undefined ? undefined : parseCursor(THREAD_ORDER, cursor)
    if (after && offset > 0) throw new OrchestratorError('INPUT_INVALID', 'options.offset: expected none together with a cursor.')
    // One thread more than requested shows whether there is a next page.
    const found = await this.#threads.list(parseInput(id, userId, 'userId'), limit + 1, offset, after)
    const page = found.slice(0, limit)
    const readable = await Promise.all(page.map((thread) => this.#permissions.can(userId, thread.id, 'read')))
    const threads = page.filter((_, index) => readable[index])
    const last = found.length > limit ? page.at(-1) : undefined
    return { threads, ...(last && { nextCursor: toCursorText(THREAD_ORDER, { value: last.createdAt, id: last.id }) }) }
  }

  /**
   * Removes the thread with its messages and flows. Needs `delete`. Rejects with FLOW_RUNNING while one of its flows is
   * running.
   */
  async deleteThread(threadId: string, userId: string): Promise<void> {
    const { id: found } = await this.#requireThread(threadId, userId, 'delete')
    const [running] = await this.#flows.list({
      threadId: found,
      status: 'RUNNING',
      limit: 1,
      offset: 0,
      sortBy: 'createdAt',
      sortOrder: 'ASC',
    })
    if (running) {
      throw new OrchestratorError('FLOW_RUNNING', `Expected a thread without running flows, found flow ${running.id} RUNNING.`, {
        details: { threadId: found, flowId: running.id },
      })
    }
    if (!(await this.#threads.delete(found))) throw threadNotFound(found)
    this.#permissions.threadDeleted?.(found)
  }

  /** Adds a message. With an `id` it is added only where no message has that id yet. Needs `write`. */
  async addMessage(threadId: string, userId: string, message: NewMessage, options: AddMessageOptions = {}): Promise<Message> {
    const given = parseInput(newMessage, message, 'message')
    const { id: ownId } = parseInput(addMessageOptions, options, 'options')
    const thread = await this.#requireThread(threadId, userId, 'write')
    // What is already there must not be stored once more.
    const stored = ownId !== undefined && given.attachments && (await this.#threads.findMessage(thread.id, ownId))
    if (stored) return stored
    const attachments = given.attachments && (await this.#attachments(userId, thread.id, given.attachments))
    const added = this.#toMessage(thread.id, given, attachments, ownId)
    await this.#threads.addMessage(added)
    return added
  }

  /** Adds all messages in order, or none. Needs `write`. */
  async addMessages(threadId: string, userId: string, messages: readonly NewMessage[]): Promise<readonly Message[]> {
    const given = parseInput(z.array(newMessage), messages, 'messages')
    const thread = await this.#requireThread(threadId, userId, 'write')
    // All at once, because they are then stored all or none.
    const all = given.flatMap(({ attachments = [] }) => attachments)
    const stored = all.length === 0 ? [] : [...(await this.#attachments(userId, thread.id, all))]
    const added = given.map((one) => this.#toMessage(thread.id, one, one.attachments && stored.splice(0, one.attachments.length)))
    await this.#threads.addMessages(added)
    return added
  }

  /** Messages of a thread, oldest first; with `limit` only the newest ones. Needs `read`. */
  async getMessages(threadId: string, userId: string, options: z.input<typeof messageOptions> = {}): Promise<Message[]> {
    const { limit } = parseInput(messageOptions, options, 'options')
    const thread = await this.#requireThread(threadId, userId, 'read')
    return [...(await this.#threads.messages(thread.id, limit))]
  }

  #toMessage(
    threadId: string,
    { attachments: _given, ...rest }: z.output<typeof newMessage>,
    attachments: readonly Attachment[] | undefined,
    ownId = this.#newId(),
  ): Message {
    return { id: ownId, threadId, ...rest, ...(attachments && { attachments }), createdAt: new Date(this.#now()) }
  }

  async #requireThread(threadId: string, userId: string, right: ThreadRight): Promise<Thread> {
    const wanted = parseInput(id, threadId, 'threadId')
    requireRight(await this.#permissions.rightsOf(parseInput(id, userId, 'userId'), wanted), wanted, right)
    const thread = await this.#threads.find(wanted)
    if (!thread) throw threadNotFound(wanted)
    return thread
  }
}
