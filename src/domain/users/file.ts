import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** A file of a user, without its bytes, which are stored once however many files have them. */
export interface StoredFile {
  readonly id: string
  readonly userId: string
  /** The thread with which the file is deleted; absent for files that were added by themselves. */
  readonly threadId?: string
  /** File name for people, without a path. */
  readonly name: string
  /** Media type in lower case without parameters, such as `application/pdf`. */
  readonly mediaType: string
  readonly byteLength: number
  /** SHA-256 of the bytes in hexadecimal. */
  readonly sha256: string
  readonly createdAt: Date
}

/** A stored file as messages, flows and results refer to it. */
export type FileReference = Pick<StoredFile, 'id' | 'byteLength' | 'sha256'>

/** The error is the same for an unknown file and for one of another user, so that ids cannot be probed. */
export const fileNotFound = (fileId: string): OrchestratorError =>
  new OrchestratorError('FILE_NOT_FOUND', `Expected a file of yours, found none with id ${JSON.stringify(fileId)}.`, {
    details: { fileId },
  })
