import type { StoredUpdate } from '../../repository.ts'
import { omitNulls } from '../rows.ts'

/** One update in a stored batch: without names, because a batch holds many. Absent values at the end are left out. */
export type UpdateCells =
  | readonly [seq: number, type: StoredUpdate['type'], timestampMs: number, path?: string | null, iteration?: number | null]
  | readonly [
      seq: number,
      type: StoredUpdate['type'],
      timestampMs: number,
      path: string | null,
      iteration: number | null,
      data: unknown,
    ]

export const toUpdateBatch = (updates: readonly StoredUpdate[]): readonly UpdateCells[] => updates.map(toCells)

function toCells({ seq, type, timestamp, data, path, iteration }: StoredUpdate): UpdateCells {
  const timestampMs = timestamp.getTime()
  if (data !== undefined) return [seq, type, timestampMs, path ?? null, iteration ?? null, data]
  if (iteration !== undefined) return [seq, type, timestampMs, path ?? null, iteration]
  return path === undefined ? [seq, type, timestampMs] : [seq, type, timestampMs, path]
}

export const fromUpdateBatch = (batch: readonly UpdateCells[]): readonly StoredUpdate[] => batch.map(fromCells)

const fromCells = ([seq, type, timestampMs, path, iteration, data]: UpdateCells): StoredUpdate => ({
  seq,
  type,
  timestamp: new Date(timestampMs),
  ...omitNulls({ path, iteration }),
  ...(data === undefined ? undefined : { data }),
})
