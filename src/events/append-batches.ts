import { OrchestratorError } from '../errors/orchestrator-error.ts'

/** Stores one item and resolves with its number. */
export type AppendOne<Item> = (item: Item) => Promise<number>

export interface BatchesDeps<Item> {
  /** Stores items in one write and resolves with the number of the first one. */
  readonly append: (items: readonly Item[]) => Promise<number>
  readonly onStored: (items: readonly Item[], firstSeq: number) => void
  /** Estimated bytes of an item in memory. */
  readonly bytesOf: (item: Item) => number
  /** Items that may wait for their write or be part of the one that runs, and their bytes. */
  readonly maxItems: number
  readonly maxBytes: number
}

interface Waiting<Item> {
  readonly item: Item
  readonly bytes: number
  readonly resolve: (seq: number) => void
  readonly reject: (error: unknown) => void
}

/** Items of one write, and their estimated bytes; an item with more is a write of its own. */
const MAX_BATCH = 500
const MAX_BATCH_BYTES = 10_000_000

/**
 * Stores items in batches: those that come while a write runs share the next one. A single item is written at once, and
 * a thousand at the same time take three writes. Items are numbered in the order of the calls. What waits is bounded:
 * an item that does not fit is refused with EVENT_LOG_BUSY and never written.
 */
export function createBatches<Item>({ append, onStored, bytesOf, maxItems, maxBytes }: BatchesDeps<Item>) {
  let waiting: Waiting<Item>[] = []
  let writing: Promise<void> | undefined
  /** Items that are neither stored nor refused. */
  let heldItems = 0
  let heldBytes = 0

  const nextBatch = (): readonly Waiting<Item>[] => {
    let count = 0
    for (let bytes = 0; count < Math.min(waiting.length, MAX_BATCH); count++) {
      bytes += waiting[count]?.bytes ?? 0
      if (count > 0 && bytes > MAX_BATCH_BYTES) break
    }
    const batch = waiting.slice(0, count)
    waiting = waiting.slice(count)
    return batch
  }
  const writeOne = async (batch: readonly Waiting<Item>[]) => {
    try {
      const items = batch.map(({ item }) => item)
      const firstSeq = await append(items)
      onStored(items, firstSeq)
      batch.forEach(({ resolve }, index) => void resolve(firstSeq + index))
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
    heldItems -= batch.length
    for (const { bytes } of batch) heldBytes -= bytes
  }
  const writeAll = async () => {
    while (waiting.length > 0) await writeOne(nextBatch())
    writing = undefined
  }

  const appendOne: AppendOne<Item> = async (item) => {
    const bytes = bytesOf(item)
    // One item is always taken, however large it is.
    if (heldItems >= maxItems || (heldItems > 0 && heldBytes + bytes > maxBytes)) throw busy(heldItems, heldBytes)
    heldItems += 1
    heldBytes += bytes
    return new Promise((resolve, reject) => {
      waiting.push({ item, bytes, resolve, reject })
      // Calls of the same turn of the event loop share the first write.
      writing ??= Promise.resolve().then(writeAll)
    })
  }
  return {
    append: appendOne,
    /** Resolves when everything so far is stored or refused. */
    settled: async (): Promise<void> => writing,
  }
}

const busy = (events: number, bytes: number): OrchestratorError =>
  new OrchestratorError(
    'EVENT_LOG_BUSY',
    `The event is not stored, because ${events} events of about ${bytes} bytes wait for the database already`,
    { details: { events, bytes } },
  )
