import type { StoredFile } from '../../domain/users/file.ts'
import type { ColumnsOf, RowOf } from './column.ts'

export type FileRow = RowOf<StoredFile>

export const FILE_COLUMNS = {
  id: { name: 'id', type: 'text', primary: true, storable: true },
  userId: { name: 'user_id', type: 'text', storable: true },
  threadId: { name: 'thread_id', type: 'text', nullable: true, storable: true },
  name: { name: 'name', type: 'text', storable: true },
  mediaType: { name: 'media_type', type: 'text', storable: true },
  byteLength: { name: 'byte_length', type: 'integer' },
  sha256: { name: 'sha256', type: 'text' },
  createdAt: { name: 'created_at', type: 'timestamptz' },
} as const satisfies ColumnsOf<FileRow>

/** The bytes of all files with one hash. */
export interface FileContentRow {
  readonly sha256: string
  readonly data: Uint8Array
  /** When a file with these bytes was last added. */
  readonly addedAt: Date
}

export const FILE_CONTENT_COLUMNS = {
  sha256: { name: 'sha256', type: 'text', primary: true },
  data: { name: 'data', type: 'bytea' },
  addedAt: { name: 'added_at', type: 'timestamptz' },
} as const satisfies ColumnsOf<FileContentRow>
