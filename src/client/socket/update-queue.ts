import type { WireUpdate } from '../../protocol/update.ts'
import type { PolyphonyError } from '../polyphony-error.ts'

/** Updates that have arrived and were not taken yet. */
export interface UpdateQueue {
  /** Number of the last update that is or was in it. */
  readonly lastSeq: number
  /** No more should come until all that is here was taken. */
  readonly isFull: boolean
  /** Takes the update, unless it is known already. `characters`: its size. */
  push(update: WireUpdate, characters: number): void
  /** Nothing follows; with an error `take` rejects with it after the last update. */
  end(error?: PolyphonyError): void
  /** Forgets what is here and ends. */
  clear(): void
  /** The next update; `undefined` at the end. One call at a time. */
  take(): Promise<WireUpdate | undefined>
}

const MOST_UPDATES = 1_000
const MOST_CHARACTERS = 1_000_000

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
      if (updates.length >= MOST_UPDATES || characters >= MOST_CHARACTERS) isFull = true
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
