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
      /** Present for joined text chunks, whose texts `data` holds one after another. */
      runs?: readonly ChunkRun[],
    ]

/** Text chunks with consecutive numbers: number and time of the last one, then the length of each. */
export type ChunkRun = readonly [lastSeq: number, lastTimestampMs: number, ...lengths: number[]]

export const toUpdateBatch = (updates: readonly StoredUpdate[]): readonly UpdateCells[] => updates.map(toCells)

function toCells({ seq, type, timestamp, data, path, iteration }: StoredUpdate): UpdateCells {
  const timestampMs = timestamp.getTime()
  if (data !== undefined) return [seq, type, timestampMs, path ?? null, iteration ?? null, data]
  if (iteration !== undefined) return [seq, type, timestampMs, path ?? null, iteration]
  return path === undefined ? [seq, type, timestampMs] : [seq, type, timestampMs, path]
}

/** The updates of a batch with numbers above `afterSeq`, in order. */
export function fromUpdateBatch(batch: readonly UpdateCells[], afterSeq = 0): readonly StoredUpdate[] {
  const updates: StoredUpdate[] = []
  let hasRuns = false
  for (const cells of batch) {
    const [seq, , , , , data, runs] = cells
    if (runs && isTextChunk(data)) {
      hasRuns = true
      for (const update of fromRuns(cells, data, runs, afterSeq)) updates.push(update)
    } else if (seq > afterSeq) updates.push(fromCells(cells))
  }
  return hasRuns ? updates.sort((a, b) => a.seq - b.seq) : updates
}

/** One update per run that ends after the number, with the text of its chunks after it. */
function* fromRuns(cells: UpdateCells, data: TextChunk, runs: readonly ChunkRun[], afterSeq: number): Generator<StoredUpdate> {
  let start = 0
  for (const [lastSeq, lastTimestampMs, ...lengths] of runs) {
    const known = Math.min(Math.max(0, afterSeq - (lastSeq - lengths.length)), lengths.length)
    const from = start + sumOf(lengths.slice(0, known))
    start += sumOf(lengths)
    if (known === lengths.length) continue
    yield {
      ...fromCells(cells),
      seq: lastSeq,
      timestamp: new Date(lastTimestampMs),
      data: { ...data, delta: data.delta.slice(from, start) },
    }
  }
}

const fromCells = ([seq, type, timestampMs, path, iteration, data]: UpdateCells): StoredUpdate => ({
  seq,
  type,
  timestamp: new Date(timestampMs),
  ...omitNulls({ path, iteration }),
  ...(data === undefined ? undefined : { data }),
})

/** Data of a `step_progress`. */
export interface TextChunk {
  readonly delta: string
}

export const isTextChunk = (data: unknown): data is TextChunk =>
  typeof data === 'object' && data !== null && 'delta' in data && typeof data.delta === 'string'

const sumOf = (lengths: readonly number[]): number => lengths.reduce((sum, length) => sum + length, 0)
