import type { WireUpdate } from '../../protocol/update.ts'
import type { PolyphonyError } from '../polyphony-error.ts'

/** Updates of one flow that have arrived and that the loop has not consumed yet. */
export interface UpdateQueue {
  /** Sequence number of the last update that was added. */
  readonly lastSeq: number
  /** True from the moment a limit is reached until the queue is empty. */
  readonly isFull: boolean
  /** Adds an update, unless it was added before. `characters`: its size. */
  push(update: WireUpdate, characters: number): void
  /** Marks the end of the updates. With an error, `take` rejects with it after the last update. */
  end(error?: PolyphonyError): void
  /** Drops all updates and ends the queue. */
  clear(): void
  /** Resolves with the next update, or with `undefined` at the end. Must not be called concurrently. */
  take(): Promise<WireUpdate | undefined>
}

const MAX_UPDATES = 1_000
const MAX_CHARACTERS = 1_000_000

export function createUpdateQueue(afterSeq: number): UpdateQueue {
  let updates: WireUpdate[] = []
  let characters = 0
  let lastSeq = afterSeq
  let isFull = false
  let end: { readonly error?: PolyphonyError } | undefined
  let wake = () => {}

  return {
    get lastSeq() {
      return lastSeq
    },
    get isFull() {
      return isFull
    },
    push(update, size) {
      if (end || update.seq <= lastSeq) return
      lastSeq = update.seq
      updates.push(update)
      characters += size
      if (updates.length >= MAX_UPDATES || characters >= MAX_CHARACTERS) isFull = true
      wake()
    },
    end(error) {
      end ??= { error }
      wake()
    },
    clear() {
      updates = []
      end = {}
      wake()
    },
    async take() {
      while (updates.length === 0 && !end) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      const update = updates.shift()
      if (updates.length === 0) {
        characters = 0
        isFull = false
      }
      if (update === undefined && end?.error) throw end.error
      return update
    },
  }
}
