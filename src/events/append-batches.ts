/** Stores one item and resolves with its number. */
export type AppendOne<Item> = (item: Item) => Promise<number>

interface Waiting<Item> {
  readonly item: Item
  readonly resolve: (seq: number) => void
  readonly reject: (error: unknown) => void
}

/** Items of one write. */
const MAX_BATCH = 500

/**
 * Stores items in batches: those that come while a write runs share the next one. A single item is written at once, and
 * a thousand at the same time take three writes. Items are numbered in the order of the calls.
 */
export function createBatches<Item>(
  append: (items: readonly Item[]) => Promise<number>,
  onStored: (items: readonly Item[], firstSeq: number) => void,
) {
  let waiting: Waiting<Item>[] = []
  let writing: Promise<void> | undefined

  const writeOne = async (batch: readonly Waiting<Item>[]) => {
    try {
      const items = batch.map(({ item }) => item)
      const firstSeq = await append(items)
      onStored(items, firstSeq)
      batch.forEach(({ resolve }, index) => void resolve(firstSeq + index))
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }
  const writeAll = async () => {
    while (waiting.length > 0) {
      const batch = waiting.slice(0, MAX_BATCH)
      waiting = waiting.slice(MAX_BATCH)
      await writeOne(batch)
    }
    writing = undefined
  }

  const appendOne: AppendOne<Item> = (item) =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject })
      // Calls of the same turn of the event loop share the first write.
      writing ??= Promise.resolve().then(writeAll)
    })
  return {
    append: appendOne,
    /** Resolves when everything so far is stored or refused. */
    settled: async (): Promise<void> => writing,
  }
}
