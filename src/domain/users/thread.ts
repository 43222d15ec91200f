import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { FileReference } from './file.ts'

/** A conversation of a user. */
export interface Thread {
  readonly id: string
  readonly userId: string
  readonly title?: string
  readonly createdAt: Date
}

/** A text or a file of a message or an execution. Without text, bytes and a vendor's id it is not sent to models. */
export interface Attachment {
  readonly name: string
  readonly mediaType: string
  /** Text that was given as such; models get it as part of the prompt. */
  readonly text?: string
  /** Bytes that are stored; models get them as a file, and those of a text file as part of the prompt. */
  readonly file?: FileReference
  /** A file that the vendor of one provider holds; only models of that provider get it. */
  readonly vendorFile?: VendorFile
}

/** A file that was uploaded to a vendor with the account of one provider. */
export interface VendorFile {
  /** Id of the provider, as steps name it. */
  readonly provider: string
  /** Id of the file at the vendor. */
  readonly id: string
}

export interface Message {
  readonly id: string
  readonly threadId: string
  readonly role: 'user' | 'assistant' | 'system'
  readonly content: string
  readonly attachments?: readonly Attachment[]
  /** `metadata.provider` names the provider that wrote an assistant message, where it is known. */
  readonly metadata: Readonly<Record<string, unknown>>
  readonly createdAt: Date
}

export const THREAD_RIGHTS = ['read', 'write', 'delete'] as const
export type ThreadRight = (typeof THREAD_RIGHTS)[number]

/** The error is the same for an unknown thread and for one without read access, so that ids cannot be probed. */
export const threadNotFound = (threadId: string): OrchestratorError =>
  new OrchestratorError(
    'THREAD_NOT_FOUND',
    `Expected a thread that you may read, found none with id ${JSON.stringify(threadId)}.`,
    {
      details: { threadId },
    },
  )

export const permissionDenied = (threadId: string, right: ThreadRight): OrchestratorError =>
  new OrchestratorError(
    'PERMISSION_DENIED',
    `Expected the right "${right}" on thread ${JSON.stringify(threadId)}, found it missing.`,
    {
      details: { threadId, right },
    },
  )

/** Throws THREAD_NOT_FOUND without `read`, PERMISSION_DENIED with `read` but without `right`. */
export function requireRight(rights: ReadonlySet<ThreadRight>, threadId: string, right: ThreadRight): void {
  if (!rights.has('read')) throw threadNotFound(threadId)
  if (!rights.has(right)) throw permissionDenied(threadId, right)
}
