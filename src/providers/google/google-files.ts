import type { FilePart, ModelRequest } from '../../domain/execution/model-call.ts'
import { kindOfFile } from '../../prompts/file-kind.ts'
import { base64Length, toFileTooLarge } from '../vendor/files/file-sizes.ts'
import { toFileText } from '../vendor/files/file-text.ts'
import type { ForeignRecord } from '../vendor/foreign-json.ts'
import { filesOf, type LoadedFiles } from '../vendor/loaded-files.ts'
import type { RequestNotes } from '../vendor/request-notes.ts'

/**
 * Limits of the API for bytes inside a request: 100 MB in all, 50 MB for a PDF
 * (ai.google.dev/gemini-api/docs/file-input-methods, November 2026).
 */
const MAX_REQUEST_BYTES = 100 * 1024 * 1024
const MAX_PDF_BYTES = 50 * 1024 * 1024

/**
 * Media types that Gemini reads (…/docs/image-understanding, …/docs/audio, …/docs/video-understanding, November
 * 2026).
 */
const IMAGE_TYPES = /^image\/(png|jpeg|webp|heic|heif)$/i
const VIDEO_TYPES = /^video\/(mp4|mpeg|mpg|mpegps|mov|quicktime|avi|x-flv|webm|wmv|3gpp)$/i
const AUDIO_TYPES = /^audio\/(wav|x-wav|wave|mp3|mpeg|mp4|m4a|aiff|x-aiff|aac|ogg|flac|x-flac|opus|webm|pcm|l16)/i

function problemOf(file: FilePart, model: string): string | undefined {
  const kind = kindOfFile(file)
  if (kind === 'text') return undefined
  if (/(^|\/)gemma/.test(model) && kind !== 'image') return `${model} reads no ${file.mediaType}`
  const isRead =
    kind === 'pdf' ||
    (kind === 'video' && VIDEO_TYPES.test(file.mediaType)) ||
    (kind === 'image' && IMAGE_TYPES.test(file.mediaType)) ||
    (kind === 'audio' && AUDIO_TYPES.test(file.mediaType))
  return isRead ? undefined : `Gemini reads no ${file.mediaType}`
}

/** The files whose bytes are part of the body. Throws PROVIDER_REJECTED for those that are too large. */
export function filesReadByGoogle(request: ModelRequest, provider: string): readonly FilePart[] {
  const read = filesOf(request).filter((file) => file.vendorFileId === undefined && problemOf(file, request.model) === undefined)
  let total = 0
  for (const file of read) {
    if (kindOfFile(file) === 'pdf' && file.byteLength > MAX_PDF_BYTES) {
      throw toFileTooLarge(provider, `PDF "${file.name}"`, file.byteLength, MAX_PDF_BYTES, 'split it')
    }
    total += kindOfFile(file) === 'text' ? file.byteLength : base64Length(file.byteLength)
  }
  if (total > MAX_REQUEST_BYTES) {
    const advice = 'send fewer or smaller files, or upload them to the vendor and name them by `vendorFileId`'
    throw toFileTooLarge(provider, 'all files of one request as base64', total, MAX_REQUEST_BYTES, advice)
  }
  return read
}

/** Parts of the files that the model reads; the others are left out with notes. */
export function toFileParts(
  files: readonly FilePart[],
  model: string,
  loaded: LoadedFiles,
  notes: RequestNotes,
): readonly ForeignRecord[] {
  return files.flatMap((file) => {
    const problem = problemOf(file, model)
    if (problem === undefined) return [toFilePart(file, loaded)]
    notes.leaveOut(`file "${file.name}"`, problem)
    return []
  })
}

function toFilePart(file: FilePart, loaded: LoadedFiles): ForeignRecord {
  if (file.vendorFileId !== undefined) return { fileData: { mimeType: file.mediaType, fileUri: file.vendorFileId } }
  if (kindOfFile(file) === 'text') return { text: toFileText(file, loaded.text(file)) }
  return { inlineData: { mimeType: file.mediaType.toLowerCase(), data: loaded.base64(file) } }
}
