import type { FilePart } from '../../domain/execution/model-call.ts'
import { kindOfFile } from '../../prompts/file-kind.ts'

/** How a file is sent. `document`: an office document, whose text only OpenAI's Responses API reads. */
export type SentKind = 'text' | 'image' | 'pdf' | 'audio' | 'document'

const IMAGE = /^image\/(png|jpe?g|gif|webp)$/
const AUDIO = /^audio\/(wav|x-wav|wave|vnd\.wave|mpeg|mp3)$/
const DOCUMENT =
  /^application\/(msword|rtf|vnd\.ms-(excel|powerpoint)|vnd\.openxmlformats-officedocument\..*|vnd\.oasis\.opendocument\..*)$/

/** How the file is sent. Undefined for media types that no service with this protocol reads. */
export function sentKindOf(file: FilePart): SentKind | undefined {
  const kind = kindOfFile(file)
  const type = file.mediaType.toLowerCase()
  if (kind === 'text' || kind === 'pdf') return kind
  if (kind === 'image') return IMAGE.test(type) ? 'image' : undefined
  if (kind === 'audio') return AUDIO.test(type) ? 'audio' : undefined
  return DOCUMENT.test(type) ? 'document' : undefined
}

/** Word for the format of an audio file. */
export const audioFormatOf = ({ mediaType }: FilePart): 'mp3' | 'wav' => (/mp3|mpeg/i.test(mediaType) ? 'mp3' : 'wav')

export const toDataUrl = ({ mediaType }: FilePart, base64: string): string => `data:${mediaType.toLowerCase()};base64,${base64}`

/** The note on a file that is not sent. */
export const toUnread = (file: FilePart): readonly [what: string, why: string] => [
  `file "${file.name}"`,
  `the provider reads no ${file.mediaType}`,
]
