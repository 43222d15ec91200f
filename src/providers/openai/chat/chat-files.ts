import type { FilePart } from '../../../domain/execution/model-call.ts'
import { toFileText } from '../../vendor/files/file-text.ts'
import type { ForeignRecord } from '../../vendor/foreign-json.ts'
import type { LoadedFiles } from '../../vendor/loaded-files.ts'
import type { RequestNotes } from '../../vendor/request-notes.ts'
import type { ChatDialect } from '../dialect.ts'
import { audioFormatOf, type SentKind, sentKindOf, toDataUrl, toUnread } from '../file-parts.ts'

/** Whether the bytes of a file are needed for a request of the dialect. */
export function isReadForChat(file: FilePart, dialect: ChatDialect): boolean {
  const kind = readableKindOf(file, dialect)
  return kind !== undefined && !isNamedById(file, kind, dialect)
}

/** How the service reads the file. Undefined if it does not. */
function readableKindOf(file: FilePart, { files }: ChatDialect): SentKind | undefined {
  const kind = sentKindOf(file)
  return kind === 'text' || files.some((readable) => readable === kind) ? kind : undefined
}

const isNamedById = ({ vendorFileId }: FilePart, kind: SentKind, { fileIds }: ChatDialect): boolean =>
  fileIds === true && kind === 'pdf' && vendorFileId !== undefined

/** The parts of a message for its files. Files that the service does not read are left out, with a note. */
export const toChatFileParts = (
  given: readonly FilePart[],
  dialect: ChatDialect,
  loaded: LoadedFiles,
  notes: RequestNotes,
): readonly ForeignRecord[] =>
  given.flatMap((file) => {
    const kind = readableKindOf(file, dialect)
    if (kind !== undefined) return [toPart(file, kind, dialect, loaded)]
    notes.leaveOut(...toUnread(file))
    return []
  })

function toPart(file: FilePart, kind: SentKind, dialect: ChatDialect, loaded: LoadedFiles): ForeignRecord {
  if (kind === 'text') return { type: 'text', text: toFileText(file, loaded.text(file)) }
  if (isNamedById(file, kind, dialect)) return { type: 'file', file: { file_id: file.vendorFileId } }
  const data = loaded.base64(file)
  if (kind === 'image') return { type: 'image_url', image_url: { url: toDataUrl(file, data) } }
  if (kind === 'audio') return { type: 'input_audio', input_audio: { data, format: audioFormatOf(file) } }
  const url = toDataUrl(file, data)
  if (dialect.documentUrls) return { type: 'document_url', document_url: url, document_name: file.name }
  return { type: 'file', file: { filename: file.name, file_data: url } }
}
