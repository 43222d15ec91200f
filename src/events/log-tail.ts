import type { EventQuery, PolyphonyEvent } from '../domain/event.ts'
import { estimateEventBytes } from '../domain/event-size.ts'

export interface LogTailDeps {
  /** Implemented by EventRepository.read. */
  readonly read: (query: EventQuery, limit: number) => Promise<readonly PolyphonyEvent[]>
  /** Implemented by EventRepository.newestSeq. */
  readonly newestSeq: () => Promise<number>
  /** Called with every event once, in the order of the numbers, except for those that are stored while it starts. */
  readonly deliver: (event: PolyphonyEvent) => void
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve))

/** Events per read. */
const PAGE = 500
/** Estimated bytes that are delivered at once; then the handlers have their turn, so that their queues do not fill. */
const BYTES_AT_ONCE = 4_000_000
/** Milliseconds until a failed read is repeated, and until what was published during the start is searched for. */
const AGAIN_MS = 1_000

/**
 * Delivers the events of a log that several processes write. Events of this process are delivered without a read where
 * their numbers continue the last one; otherwise what other processes have stored in between is read. Nothing is read
 * before `start` and after `stop`.
 */
export function createLogTail({ read, newestSeq, deliver }: LogTailDeps) {
  /** Every event up to this number is delivered; `undefined` until it is known. */
  let position: number | undefined
  /** Number of the newest event when the tail was started: earlier ones are never read. */
  let startSeq = 0
  let isStarted = false
  let isReading = false
  let readAgain = false
  let timer: NodeJS.Timeout | undefined
  /** Rises with every start, so that a read that began before it changes nothing. */
  let generation = 0
  /** Called when the newest number is known, or when the tail stops before. */
  const onReady: (() => void)[] = []
  let isReady = true

  const becomeReady = () => {
    isReady = true
    for (const resolve of onReady.splice(0)) resolve()
  }
  const catchUpLater = () => {
    clearTimeout(timer)
    timer = setTimeout(() => void catchUp(), AGAIN_MS).unref()
  }
  const readPages = async (current: number) => {
    if (position === undefined) {
      const newest = await newestSeq()
      if (generation !== current) return
      // Events of this process may have been delivered meanwhile, with higher numbers.
      position = Math.max(position ?? 0, newest)
      startSeq = Math.max(startSeq, position)
    }
    becomeReady()
    for (let isLast = false; !isLast && generation === current; ) {
      readAgain = false
      const page = await read({ afterSeq: position }, PAGE)
      if (generation !== current) return
      let bytes = 0
      for (const event of page) {
        if (event.seq <= position) continue
        bytes += estimateEventBytes(event)
        if (bytes > BYTES_AT_ONCE) {
          await nextTurn()
          if (generation !== current) return
          bytes = 0
        }
        deliver(event)
        position = event.seq
      }
      isLast = page.length < PAGE && !readAgain
    }
  }
  async function catchUp(): Promise<void> {
    readAgain = true
    if (!isStarted || isReading) return
    isReading = true
    const current = generation
    try {
      await readPages(current)
    } catch {
      readAgain = false
      if (generation === current) catchUpLater()
    }
    isReading = false
    // Something was announced after the last page, or the tail was started again while a read was running.
    if (isStarted && (readAgain || generation !== current)) void catchUp()
  }

  return {
    /** Events that are stored from now on are delivered. */
    start(): void {
      if (isStarted) return
      isStarted = true
      isReady = false
      generation += 1
      position = undefined
      startSeq = 0
      void catchUp()
      catchUpLater()
    },
    stop(): void {
      isStarted = false
      generation += 1
      clearTimeout(timer)
      becomeReady()
    },
    /**
     * Resolves when every event that any process stores from then on is delivered; at once while the tail is stopped.
     */
    ready: (): Promise<void> => (isReady ? Promise.resolve() : new Promise((resolve) => onReady.push(resolve))),
    /** Must be called with the events of every write of this process, in the order of the writes. */
    stored(events: readonly PolyphonyEvent[]): void {
      const [first] = events
      const last = events.at(-1)
      if (!isStarted || !first || !last) return
      const continues = !isReading && position !== undefined && first.seq === position + 1
      if (!continues && position !== undefined && last.seq > startSeq) {
        void catchUp()
        return
      }
      // Until the first number is known, and up to it, no read delivers the events of this process.
      for (const event of events) deliver(event)
      if (position === undefined) startSeq = Math.max(startSeq, last.seq)
      position = Math.max(position ?? 0, last.seq)
    },
    /** Called when another process has stored events up to this number, or when such a message may be lost. */
    announced(seq = Number.POSITIVE_INFINITY): void {
      if (position === undefined || seq > position) void catchUp()
    },
  }
}
