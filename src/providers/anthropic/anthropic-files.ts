import type { FilePart, ModelRequest } from '../../domain/execution/model-call.ts'
import { kindOfFile } from '../../prompts/file-kind.ts'
import { base64Length, toFileTooLarge } from '../vendor/files/file-sizes.ts'
import { filesOf, type LoadedFiles } from '../vendor/loaded-files.ts'
import type { RequestNotes } from '../vendor/request-notes.ts'
import { type AnthropicAbilities, anthropicAbilitiesOf } from './anthropic-models.ts'

/**
 * Limits of the API: base64 of one image (its own answer "image exceeds 5 MB maximum", of the base64 text), and one
 * whole request (platform.claude.com/docs/en/build-with-claude/vision), November 2026.
 */
const MAX_IMAGE_BASE64 = 5 * 1024 * 1024
const MAX_REQUEST_BYTES = 32 * 1024 * 1024

const IMAGE_TYPES: ReadonlySet<string> = new Set(['image/jpeg', 'image/png', 'image/gif', 'image/webp'])

/** Blocks are changed after they are built: marks of the cache are set last. */
export type Block = Record<string, unknown>

/** Why the model does not read a file. Undefined if it does. */
function problemOf(file: FilePart, model: string, { files }: AnthropicAbilities): string | undefined {
  const kind = kindOfFile(file)
  if (kind === 'text') return undefined
  if (kind !== 'image' && kind !== 'pdf') return `Anthropic reads no ${file.mediaType}`
  if (!files.includes(kind)) return `${model} reads no ${kind === 'pdf' ? 'PDF' : 'images'}`
  if (kind === 'image' && !IMAGE_TYPES.has(file.mediaType.toLowerCase())) return `Anthropic reads no ${file.mediaType}`
  return undefined
}

/** The files whose bytes are part of the body. Throws PROVIDER_REJECTED for those that are too large. */
export function filesReadByAnthropic(request: ModelRequest, provider: string): readonly FilePart[] {
  const given = filesOf(request)
  if (given.length === 0) return given
  const abilities = anthropicAbilitiesOf(request.model)
  const read = given.filter((file) => file.vendorFileId === undefined && problemOf(file, request.model, abilities) === undefined)
  let total = 0
  for (const file of read) {
    const length = kindOfFile(file) === 'text' ? file.byteLength : base64Length(file.byteLength)
    if (kindOfFile(file) === 'image' && length > MAX_IMAGE_BASE64) {
      const limit = (MAX_IMAGE_BASE64 / 4) * 3
      throw toFileTooLarge(provider, `image "${file.name}"`, file.byteLength, limit, 'scale it down')
    }
    total += length
  }
  if (total > MAX_REQUEST_BYTES) {
    const advice = 'send fewer or smaller files, or upload them to the vendor and name them by `vendorFileId`'
    throw toFileTooLarge(provider, 'all files of one request as base64', total, MAX_REQUEST_BYTES, advice)
  }
  return read
}

/** Blocks of the files that the model reads; the others are left out with notes. */
export function toFileBlocks(
  files: readonly FilePart[],
  model: string,
  loaded: LoadedFiles,
  notes: RequestNotes,
): readonly Block[] {
  const abilities = anthropicAbilitiesOf(model)
  return files.flatMap((file) => {
    const problem = problemOf(file, model, abilities)
    if (problem === undefined) return [toFileBlock(file, loaded)]
    notes.leaveOut(`file "${file.name}"`, problem)
    return []
  })
}

function toFileBlock(file: FilePart, loaded: LoadedFiles): Block {
  const kind = kindOfFile(file)
  const type = kind === 'image' ? 'image' : 'document'
  return { type, source: toSource(file, loaded), ...(type === 'document' && { title: file.name }) }
}

function toSource(file: FilePart, loaded: LoadedFiles): Block {
  if (file.vendorFileId !== undefined) return { type: 'file', file_id: file.vendorFileId }
  // Every text is a document of this media type, whatever its own is.
  if (kindOfFile(file) === 'text') return { type: 'text', media_type: 'text/plain', data: loaded.text(file) }
  return { type: 'base64', media_type: file.mediaType.toLowerCase(), data: loaded.base64(file) }
}

/** Whether the request names a file that the vendor holds. */
export const namesVendorFiles = (request: ModelRequest): boolean =>
  filesOf(request).some(({ vendorFileId }) => vendorFileId !== undefined)
