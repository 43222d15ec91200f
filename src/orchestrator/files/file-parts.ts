import type { FilePart } from '../../domain/execution/model-call.ts'
import { fileNotFound } from '../../domain/users/file.ts'
import { isPlainText, toText } from '../../domain/users/file-text.ts'
import type { Attachment } from '../../domain/users/thread.ts'
import type { PromptSection } from '../../prompts/action-prompt.ts'
import type { FileRepository } from '../../repositories/repository.ts'

/** The bytes of the file of an attachment. Rejects with FILE_NOT_FOUND if the file was removed. */
export type ReadFile = (file: NonNullable<Attachment['file']>) => Promise<Uint8Array>

/**
 * Reads a file only while it exists itself: its bytes stay for some time, and as long as another user has the same.
 */
export const createFileReader =
  (files: Pick<FileRepository, 'find' | 'readContent'>): ReadFile =>
  async ({ id, sha256 }) => {
    const [file] = await files.find([id])
    const data = file?.sha256 === sha256 ? await files.readContent(sha256) : undefined
    if (!data) throw fileNotFound(id)
    return data
  }

/** What a request has of attachments: texts for the prompt, and files that are sent as such. */
export interface RequestFiles {
  readonly texts: readonly PromptSection[]
  readonly files: readonly FilePart[]
}

export const NO_FILES: RequestFiles = { texts: [], files: [] }

/**
 * Reads the texts of attachments, and refers to their other files, which adapters read when they send them. The same
 * content under the same name is given once. Rejects with FILE_NOT_FOUND for a text whose bytes are gone.
 */
export async function toRequestFiles(attachments: readonly Attachment[], readFile: ReadFile): Promise<RequestFiles> {
  if (attachments.length === 0) return NO_FILES
  const texts: PromptSection[] = []
  const files: FilePart[] = []
  for (const attachment of new Map(attachments.map((one) => [contentKey(one), one])).values()) {
    const text = await textOf(attachment, readFile)
    const file = text === undefined ? toFilePart(attachment, readFile) : undefined
    if (file) files.push(file)
    else texts.push({ label: attachment.name, text: text ?? '' })
  }
  return { texts, files }
}

const contentKey = ({ name, mediaType, text, file, vendorFile }: Attachment): string =>
  JSON.stringify([name, mediaType, text, file?.sha256, vendorFile])

async function textOf({ mediaType, text, file }: Attachment, readFile: ReadFile): Promise<string | undefined> {
  // Earlier versions stored the text of a file beside its reference.
  if (text !== undefined || !file || !isPlainText(mediaType)) return text
  return toText(await readFile(file))
}

/** A file as adapters read it when they send it; `undefined` for an attachment without one. */
export function toFilePart({ name, mediaType, file, vendorFile }: Attachment, readFile: ReadFile): FilePart | undefined {
  if (file) return { name, mediaType, byteLength: file.byteLength, sha256: file.sha256, read: () => readFile(file) }
  // An adapter sends the id and never reads the bytes.
  return (
    vendorFile && {
      name,
      mediaType,
      byteLength: 0,
      vendorFileId: vendorFile.id,
      read: () => Promise.reject(fileNotFound(vendorFile.id)),
    }
  )
}
