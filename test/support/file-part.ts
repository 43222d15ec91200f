import { createHash } from 'node:crypto'
import type { FilePart } from '../../src/domain/execution/model-call.ts'

/** A file of a message that is held in memory. */
export function filePart(name: string, mediaType: string, content: string | Uint8Array, rest: Partial<FilePart> = {}): FilePart {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content
  return {
    name,
    mediaType,
    byteLength: bytes.byteLength,
    sha256: createHash('sha256').update(bytes).digest('hex'),
    read: async () => bytes,
    ...rest,
  }
}
