import type { StoredFile } from '../domain/users/file.ts'
import type { NewAttachment, ResolveAttachments } from '../domain/users/new-attachment.ts'
import type { Attachment } from '../domain/users/thread.ts'
import type { AddFileOptions, FileService } from './file-service.ts'

/**
 * Creates the function that turns attachments as callers give them into those that are stored. A file that is attached
 * several times under one name gets one entry.
 */
export function createAttachments(files: Pick<FileService, 'add' | 'copy' | 'remove'>): ResolveAttachments {
  return async function resolveAll(userId, threadId, given, repeat) {
    const copies = new Map<string, StoredFile>()
    const stored: StoredFile[] = []
    const keep = (file: StoredFile): StoredFile => {
      stored.push(file)
      return file
    }
    const options: AddFileOptions = { threadId, repeat }

    async function resolve({ data, fileId, name, mediaType, text, vendorFile }: NewAttachment): Promise<Attachment> {
      if (data) return toAttachment(keep(await files.add(userId, { name: name ?? 'file', mediaType, data }, options)))
      if (fileId === undefined) {
        return {
          name: name ?? 'file',
          mediaType: mediaType ?? '',
          ...(text !== undefined && { text }),
          ...(vendorFile && { vendorFile }),
        }
      }
      const key = JSON.stringify([fileId, name, mediaType])
      const copy = copies.get(key) ?? keep(await files.copy(fileId, userId, { name, mediaType }, options))
      copies.set(key, copy)
      return toAttachment(copy)
    }

    const resolved: Attachment[] = []
    try {
      // One after another, so that the bytes of one file at a time are on their way to the database.
      for (const attachment of given) resolved.push(await resolve(attachment))
      return resolved
    } catch (error) {
      await Promise.allSettled(stored.map(({ id }) => files.remove(id, userId)))
      throw error
    }
  }
}

const toAttachment = ({ name, mediaType, id, byteLength, sha256 }: StoredFile): Attachment => ({
  name,
  mediaType,
  file: { id, byteLength, sha256 },
})
