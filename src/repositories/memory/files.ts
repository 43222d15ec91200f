import type { StoredFile } from '../../domain/users/file.ts'
import type { FileRepository } from '../repository.ts'
import { newestFirst } from './conversations.ts'

export interface MemoryFiles {
  readonly files: FileRepository
  removeOfThread(threadId: string): void
}

/** Files in plain Maps, with their bytes by hash. Above `maxBytes` of different bytes the oldest files are removed. */
export function createMemoryFiles({ maxBytes }: { readonly maxBytes: number }): MemoryFiles {
  const files = new Map<string, StoredFile>()
  const contents = new Map<string, { readonly data: Uint8Array; uses: number }>()
  let bytes = 0

  const remove = (id: string): boolean => {
    const file = files.get(id)
    const content = file && contents.get(file.sha256)
    if (!file || !content) return false
    files.delete(id)
    content.uses--
    if (content.uses === 0) {
      contents.delete(file.sha256)
      bytes -= content.data.byteLength
    }
    return true
  }
  const removeWhere = (matches: (file: StoredFile) => boolean): void => {
    for (const file of [...files.values()]) if (matches(file)) remove(file.id)
  }

  const ofUser = (userId: string) => [...files.values()].filter((file) => file.userId === userId)

  return {
    removeOfThread: (threadId) => removeWhere((file) => file.threadId === threadId),
    files: {
      add: async (file, data, maxUserBytes = Number.POSITIVE_INFINITY) => {
        const own = new Map(ofUser(file.userId).map(({ sha256, byteLength }) => [sha256, byteLength]))
        const usedBytes = sum([...own.values()])
        if (!own.has(file.sha256) && usedBytes + file.byteLength > maxUserBytes) return { outcome: 'full', usedBytes }
        const content = contents.get(file.sha256)
        if (!content && !data) return { outcome: 'missing', usedBytes }
        if (files.has(file.id)) return { outcome: 'added', usedBytes }
        if (content) content.uses++
        else if (data) {
          contents.set(file.sha256, { data: Uint8Array.from(data), uses: 1 })
          bytes += data.byteLength
        }
        files.set(file.id, file)
        for (const id of files.keys()) {
          if (bytes <= maxBytes || id === file.id) break
          remove(id)
        }
        return { outcome: 'added', usedBytes }
      },
      find: async (ids) => ids.map((id) => files.get(id)).filter((file) => file !== undefined),
      list: async (userId, limit, after) =>
        ofUser(userId)
          .filter((file) => !after || newestFirst(toCursor(file), after) > 0)
          .sort((a, b) => newestFirst(toCursor(a), toCursor(b)))
          .slice(0, limit),
      readContent: async (sha256) => contents.get(sha256)?.data,
      remove: async (id) => remove(id),
      prune: async ({ filesBefore }) => {
        if (filesBefore) removeWhere(({ createdAt }) => createdAt < filesBefore)
      },
    },
  }
}

const sum = (sizes: readonly number[]): number => sizes.reduce((total, size) => total + size, 0)

const toCursor = ({ createdAt, id }: StoredFile) => ({ value: createdAt, id })
