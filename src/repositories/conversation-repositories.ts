import type { PageCursor } from '../domain/page-cursor.ts'
import type { StoredFile } from '../domain/users/file.ts'
import type { DataSharingPolicy } from '../domain/users/sharing.ts'
import type { Message, Thread, ThreadRight } from '../domain/users/thread.ts'

export interface ThreadRepository {
  /** Rejects with INTERNAL if the id is in use. */
  create(thread: Thread): Promise<void>
  find(threadId: string): Promise<Thread | undefined>
  /** Threads of the user, newest first. `after`: only those after this position, whose value is a `createdAt`. */
  list(userId: string, limit: number, offset: number, after?: PageCursor): Promise<readonly Thread[]>
  /**
   * Removes the thread with its messages, permissions and flows, and resolves with whether it existed. Callers must
   * make sure that no flow of the thread is RUNNING; flows that are created in the meantime are refused.
   */
  delete(threadId: string): Promise<boolean>
  /** Adds a message. Does nothing if a message with this id is already stored. */
  addMessage(message: Message): Promise<void>
  /** Adds messages to one thread, all or none. Messages of the same instant keep the order of the list. */
  addMessages(messages: readonly Message[]): Promise<void>
  /**
   * The newest `limit` messages, or all; with `role` only those of that role. The oldest comes first. Called once per
   * execution.
   */
  messages(threadId: string, limit?: number, role?: Message['role']): Promise<readonly Message[]>
  /** Called when a flow starts without an input. */
  newestUserMessage(threadId: string): Promise<Message | undefined>
  /** Called when a process takes a flow that another one started with the text of a message. */
  findMessage(threadId: string, messageId: string): Promise<Message | undefined>
}

/** Rights on threads that users gave to other users. */
export interface PermissionRepository {
  /** Called with every request; calls within one turn of the event loop share a statement. */
  rightsOf(userId: string, threadId: string): Promise<readonly ThreadRight[]>
  /** Every user that has a right on the thread. */
  list(threadId: string): Promise<readonly { readonly userId: string; readonly rights: readonly ThreadRight[] }[]>
  /** Replaces the rights of the user on the thread; without any right the row is removed. */
  set(threadId: string, userId: string, rights: readonly ThreadRight[]): Promise<void>
}

/** Policies by user and provider. */
export interface DataSharingRepository {
  /** Called before every request to a provider; calls within one turn of the event loop share a statement. */
  find(userId: string, providerKey: string): Promise<DataSharingPolicy | undefined>
  list(userId: string): Promise<readonly DataSharingPolicy[]>
  /** Adds the policy or replaces it. */
  set(policy: DataSharingPolicy): Promise<void>
  remove(userId: string, providerKey: string): Promise<void>
}

export interface FileAddition {
  /** `full`: the bytes would exceed the limit of the user. `missing`: no bytes are stored under the hash. */
  readonly outcome: 'added' | 'full' | 'missing'
  /** Bytes of the user's files before the addition; files with the same bytes count once. */
  readonly usedBytes: number
}

/** Files of users. Bytes are stored once by their hash, however many files have them. */
export interface FileRepository {
  /**
   * Stores a new file with its bytes, both or none; without `data` the file gets the bytes that are stored under its
   * hash. A file with the same id is left as it is, so that an addition whose answer was lost can be repeated.
   * `maxUserBytes`: limit of all bytes of the user, those with the same hash counted once. It holds for additions at
   * the same time too. Default: no limit.
   */
  add(file: StoredFile, data: Uint8Array | undefined, maxUserBytes?: number): Promise<FileAddition>
  /** The files with these ids that exist, in any order. */
  find(ids: readonly string[]): Promise<readonly StoredFile[]>
  /** Files of the user, newest first. `after`: only those after this position, whose value is a `createdAt`. */
  list(userId: string, limit: number, after?: PageCursor): Promise<readonly StoredFile[]>
  /** The bytes with this hash; undefined if no file has them any more. Called once per attempt that sends a file. */
  readContent(sha256: string): Promise<Uint8Array | undefined>
  /** Removes the file, and resolves with whether it existed. Its bytes are removed later. */
  remove(id: string): Promise<boolean>
  /**
   * Removes files that were created before `filesBefore`, if it is given, and bytes that no file has and that were last
   * added before `unusedBefore`. Called by a timer.
   */
  prune(before: { readonly filesBefore?: Date; readonly unusedBefore: Date }): Promise<void>
}
