import { createHash, randomUUID } from 'node:crypto'
import * as z from 'zod'
import { parseCursor, toCursorText } from '../domain/page-cursor.ts'
import { fileNotFound, type StoredFile } from '../domain/users/file.ts'
import { isPlainText, toText } from '../domain/users/file-text.ts'
import type { RepeatWrite } from '../domain/users/new-attachment.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { PermissionService } from '../policies/policy.ts'
import type { FileRepository } from '../repositories/repository.ts'
import { parseInput } from './parse-input.ts'

export interface FileLimits {
  /** Bytes of one file. */
  readonly maxBytes: number
  /** Bytes of all files of one user. */
  readonly maxBytesPerUser: number
}

export interface FileServiceDeps {
  readonly files: FileRepository
  readonly limits: FileLimits
  readonly permissions: Pick<PermissionService, 'can'>
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

const MEDIA_TYPE = /^[a-z0-9!#$&^_.+-]+\/[a-z0-9!#$&^_.+-]+$/
const UNKNOWN_TYPE = 'application/octet-stream'

const fileName = z
  .string()
  .min(1)
  .max(500)
  .regex(/^[^\p{Cc}]*$/u, 'expected a name without control characters')
const mediaType = z
  .string()
  .max(200)
  .transform((type) => type.split(';', 1)[0]?.trim().toLowerCase() ?? '')
  .pipe(z.string().regex(MEDIA_TYPE, 'expected a media type such as application/pdf'))
const newFile = z.strictObject({
  name: fileName,
  mediaType: mediaType.optional(),
  data: z.custom<Uint8Array>((data) => data instanceof Uint8Array, 'expected the bytes as a Uint8Array'),
})
const copiedFile = z.strictObject({ name: fileName.optional(), mediaType: mediaType.optional() })
const listOptions = z.strictObject({
  limit: z.number().int().min(1).max(1_000).default(50),
  cursor: z.string().max(1_000).optional(),
})

export type NewFile = z.input<typeof newFile>
/** What a copy has instead of the name and the media type of its file. */
export type CopiedFile = z.input<typeof copiedFile>
export type ListFilesOptions = z.input<typeof listOptions>

export interface AddFileOptions {
  /** The thread with which the file is deleted. */
  readonly threadId?: string
  /** Default: the write runs once. */
  readonly repeat?: RepeatWrite
}

/** One page of a list of files. */
export interface FilePage {
  readonly files: readonly StoredFile[]
  /** `cursor` of the next page; absent on the last one. */
  readonly nextCursor?: string
}

const FILE_ORDER = { name: 'files by createdAt DESC', by: 'instant' } as const

/**
 * Files of users, which messages and executions refer to by their id. Their user can read and remove them; files of a
 * thread can be read by all who may read the thread. For everyone else they are FILE_NOT_FOUND. The same bytes are
 * stored once.
 *
 * ```ts
 * const file = await polyphony.files.add('ada', { name: 'note.txt', data: new TextEncoder().encode('Rain at noon.') })
 * const { id } = await polyphony.conversations.createThread('ada')
 * const attachments = [{ fileId: file.id }]
 * await polyphony.conversations.addMessage(id, 'ada', { role: 'user', content: 'When?', attachments })
 * ```
 */
export class FileService {
  readonly #files: FileRepository
  readonly #limits: FileLimits
  readonly #permissions: FileServiceDeps['permissions']
  readonly #now: () => number

  constructor({ files, limits, permissions, now = Date.now }: FileServiceDeps) {
    this.#files = files
    this.#limits = limits
    this.#permissions = permissions
    this.#now = now
  }

  /**
   * Stores a file. Without a media type, and for `application/octet-stream`, the type is found from the bytes. With a
   * `threadId` the file is deleted with that thread. Rejects with INPUT_INVALID, also for a text type whose bytes are
   * not UTF-8, and with FILE_TOO_LARGE above `files.maxBytes` of the configuration, or if the user's files would exceed
   * `files.maxBytesPerUser`, where the same bytes count once. Nothing is stored then.
   */
  async add(userId: string, file: NewFile, options: AddFileOptions = {}): Promise<StoredFile> {
    const { name, mediaType: given, data } = parseInput(newFile, file, 'file')
    this.#requireSize(name, data.byteLength)
    const type = given === undefined || given === UNKNOWN_TYPE ? await detectType(data) : given
    requireText({ name, mediaType: type }, data)
    const sha256 = createHash('sha256').update(data).digest('hex')
    return this.#store(userId, { name, mediaType: type, byteLength: data.byteLength, sha256 }, data, options)
  }

  /**
   * Adds an entry for the same bytes, which are not stored again. It stays when the file itself is removed. Rejects as
   * `get` and `add` do.
   */
  async copy(fileId: string, userId: string, changes: CopiedFile = {}, options: AddFileOptions = {}): Promise<StoredFile> {
    const { name, mediaType: given } = parseInput(copiedFile, changes, 'file')
    const file = await this.get(fileId, userId)
    const type = given === undefined || given === UNKNOWN_TYPE ? file.mediaType : given
    const copied = { name: name ?? file.name, mediaType: type, byteLength: file.byteLength, sha256: file.sha256 }
    // Bytes that are stored as text are text.
    if (isPlainText(type) && !isPlainText(file.mediaType)) requireText(copied, await this.#read(file))
    return this.#store(userId, copied, undefined, options, fileId)
  }

  /** A file of the user, or of a thread that the user may read. Rejects with FILE_NOT_FOUND. */
  async get(fileId: string, userId: string): Promise<StoredFile> {
    const [file] = await this.#files.find([fileId])
    if (file?.userId === userId) return file
    if (file?.threadId !== undefined && (await this.#permissions.can(userId, file.threadId, 'read'))) return file
    throw fileNotFound(fileId)
  }

  /** The bytes of a file. Rejects with FILE_NOT_FOUND. */
  async read(fileId: string, userId: string): Promise<Uint8Array> {
    return this.#read(await this.get(fileId, userId))
  }

  /** Files of the user, newest first; at most `limit`, by default 50. */
  async list(userId: string, options: ListFilesOptions = {}): Promise<FilePage> {
    const { limit, cursor } = parseInput(listOptions, options, 'options')
    const after = cursor === undefined ? undefined : parseCursor(FILE_ORDER, cursor)
    // One file more than requested shows whether there is a next page.
    const found = await this.#files.list(userId, limit + 1, after)
    const files = found.slice(0, limit)
    const last = found.length > limit ? files.at(-1) : undefined
    return { files, ...(last && { nextCursor: toCursorText(FILE_ORDER, { value: last.createdAt, id: last.id }) }) }
  }

  /**
   * Removes a file of the user. Messages that refer to it stay; a flow that would send it fails with FILE_NOT_FOUND.
   * Rejects with FILE_NOT_FOUND.
   */
  async remove(fileId: string, userId: string): Promise<void> {
    const [file] = await this.#files.find([fileId])
    if (file?.userId !== userId || !(await this.#files.remove(fileId))) throw fileNotFound(fileId)
  }

  async #read({ id, sha256 }: StoredFile): Promise<Uint8Array> {
    const data = await this.#files.readContent(sha256)
    if (!data) throw fileNotFound(id)
    return data
  }

  async #store(
    userId: string,
    facts: Pick<StoredFile, 'name' | 'mediaType' | 'byteLength' | 'sha256'>,
    data: Uint8Array | undefined,
    { threadId, repeat = (write) => write() }: AddFileOptions,
    copyOf?: string,
  ): Promise<StoredFile> {
    const { maxBytesPerUser: max } = this.#limits
    const file: StoredFile = {
      id: randomUUID(),
      userId,
      ...(threadId !== undefined && { threadId }),
      ...facts,
      createdAt: new Date(this.#now()),
    }
    const { outcome, usedBytes: used } = await repeat(() => this.#files.add(file, data, max))
    if (outcome === 'added') return file
    if (outcome === 'missing') throw fileNotFound(copyOf ?? file.id)
    const { name, byteLength } = facts
    const message = `Expected at most ${max} bytes in all files of a user, found ${used} used and ${byteLength} in "${name}"`
    throw new OrchestratorError('FILE_TOO_LARGE', message, {
      details: { name, byteLength, limit: 'maxBytesPerUser', max, used },
    })
  }

  #requireSize(name: string, byteLength: number): void {
    const { maxBytes } = this.#limits
    const details = { name, byteLength }
    if (byteLength === 0)
      throw new OrchestratorError('INPUT_INVALID', `file: expected bytes in "${name}", found none`, { details })
    if (byteLength <= maxBytes) return
    const message = `Expected at most ${maxBytes} bytes in a file, found ${byteLength} in "${name}"`
    throw new OrchestratorError('FILE_TOO_LARGE', message, { details: { ...details, limit: 'maxBytes', max: maxBytes } })
  }
}

/** Throws INPUT_INVALID for bytes that claim to be text and are not. */
function requireText({ name, mediaType }: Pick<StoredFile, 'name' | 'mediaType'>, data: Uint8Array): void {
  if (!isPlainText(mediaType) || toText(data) !== undefined) return
  const message = `Expected UTF-8 text in "${name}", because its media type is ${mediaType}; found other bytes.`
  throw new OrchestratorError('INPUT_INVALID', message, { details: { name, mediaType } })
}

/** The media type by the first bytes; otherwise `text/plain` for UTF-8 text, and `application/octet-stream`. */
async function detectType(data: Uint8Array): Promise<string> {
  const { fileTypeFromBuffer } = await import('file-type')
  const found = await fileTypeFromBuffer(data)
  if (found) return found.mime
  return toText(data) === undefined ? UNKNOWN_TYPE : 'text/plain'
}
