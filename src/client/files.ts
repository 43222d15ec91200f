import { allPages } from './http/pages.ts'
import { asJson, asNothing, type CallOptions, type KeyedCallOptions, type Transport } from './http/transport.ts'
import type { FileListQuery, FilePage, NewFileQuery, StoredFile } from './wire.ts'

/**
 * Files of the caller, to which messages and executions refer by `fileId`.
 *
 * ```ts
 * const file = await client.files.add(new TextEncoder().encode('Rain at noon.'), { name: 'note.txt' })
 * await client.messages.add(thread.id, { role: 'user', content: 'When?', attachments: [{ fileId: file.id }] })
 * ```
 */
export const createFiles = ({ send }: Transport) => {
  const list = (query: FileListQuery = {}, options?: CallOptions) =>
    send({ method: 'GET', path: ['files'], query }, options, asJson<FilePage>)
  return {
    /** Stores the bytes. Rejects with FILE_TOO_LARGE. */
    add: (data: Uint8Array | Blob, query: NewFileQuery, options?: KeyedCallOptions) =>
      send({ method: 'POST', path: ['files'], query, bytes: data, keyed: true }, options, asJson<StoredFile>),
    /** One page of files, newest first. */
    list,
    /** All files, newest first; a page is requested when the loop reaches it. */
    all: (query: FileListQuery = {}, options?: CallOptions) => allPages(query, (next) => list(next, options)),
    /** Rejects with FILE_NOT_FOUND for an unknown file and for one of another user. */
    get: (fileId: string, options?: CallOptions) => send({ method: 'GET', path: ['files', fileId] }, options, asJson<StoredFile>),
    /** The bytes of a file. */
    read: (fileId: string, options?: CallOptions) =>
      send({ method: 'GET', path: ['files', fileId, 'content'] }, options, (response) => response.arrayBuffer()),
    /** Deletes the file. Messages that refer to it stay without it. */
    delete: (fileId: string, options?: CallOptions) => send({ method: 'DELETE', path: ['files', fileId] }, options, asNothing),
  }
}
