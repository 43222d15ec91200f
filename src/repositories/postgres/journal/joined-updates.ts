import { type ChunkRun, isTextChunk, type UpdateCells } from './update-rows.ts'

export interface StoredBatch {
  readonly last_seq: number
  readonly batch: readonly UpdateCells[]
}

/** Rows from `first_seq` to `last_seq` whose updates belong into the last of them. */
export interface JoinedBatch extends StoredBatch {
  readonly first_seq: number
}

/** Characters of text in one row: a subscription reads whole rows. */
const MAX_CHARACTERS = 65_536
const CHARACTERS_PER_UPDATE = 40

/** Groups of consecutive rows, each joined into one. Rows that stay alone are left out. */
export function joinBatches(rows: readonly StoredBatch[]): readonly JoinedBatch[] {
  const groups: StoredBatch[][] = []
  let characters = Number.POSITIVE_INFINITY
  for (const row of rows) {
    const added = row.batch.reduce((sum, cells) => sum + charactersOf(cells), 0)
    if (characters + added > MAX_CHARACTERS) {
      groups.push([])
      characters = 0
    }
    characters += added
    groups.at(-1)?.push(row)
  }
  return groups.flatMap((group) => {
    const [first, last] = [group[0], group.at(-1)]
    if (!first || !last || first === last) return []
    return [{ first_seq: first.last_seq, last_seq: last.last_seq, batch: joinChunks(group.flatMap(({ batch }) => batch)) }]
  })
}

const charactersOf = ([, , , , , data]: UpdateCells): number =>
  CHARACTERS_PER_UPDATE + (isTextChunk(data) ? data.delta.length : data === undefined ? 0 : JSON.stringify(data).length)

/** Chunks of one text that are being joined. */
interface OpenText {
  readonly first: UpdateCells
  readonly texts: string[]
  readonly runs: [lastSeq: number, lastTimestampMs: number, ...lengths: number[]][]
}

/**
 * The updates with one entry per text: per step, iteration, sample and kind. Numbers and lengths of the chunks are
 * kept, because a reader may have received any number of them. Texts of several steps that were written at the same
 * time keep one run per group of consecutive numbers: an update with the number of the last chunk would be wrong for a
 * reader that has received updates of another step in between.
 */
function joinChunks(batch: readonly UpdateCells[]): readonly UpdateCells[] {
  const others: UpdateCells[] = []
  const open = new Map<string, OpenText>()
  for (const cells of batch) {
    const [seq, type, timestampMs, path, iteration, data, runs = [[seq, timestampMs, lengthOf(data)]]] = cells
    if (type !== 'step_progress' || !isTextChunk(data)) {
      others.push(cells)
      continue
    }
    const key = JSON.stringify([path, iteration, { ...data, delta: '' }])
    const text = open.get(key) ?? { first: cells, texts: [], runs: [] }
    open.set(key, text)
    text.texts.push(data.delta)
    for (const run of runs) addRun(text.runs, run)
  }
  return [...others, ...Array.from(open.values(), toCellsOfText)]
}

const lengthOf = (data: unknown): number => (isTextChunk(data) ? data.delta.length : 0)

function addRun(runs: OpenText['runs'], [lastSeq, lastTimestampMs, ...lengths]: ChunkRun): void {
  const before = runs.at(-1)
  if (before?.[0] !== lastSeq - lengths.length) {
    runs.push([lastSeq, lastTimestampMs, ...lengths])
    return
  }
  before[0] = lastSeq
  before[1] = lastTimestampMs
  for (const length of lengths) before.push(length)
}

function toCellsOfText({ first, texts, runs }: OpenText): UpdateCells {
  const last = runs.at(-1)
  const isSingle = runs.length === 1 && last?.length === 3
  if (!last || isSingle) return first
  const [, type, , path, iteration, data] = first
  const joined = { ...(isTextChunk(data) ? data : undefined), delta: texts.join('') }
  return [last[0], type, last[1], path ?? null, iteration ?? null, joined, runs]
}
