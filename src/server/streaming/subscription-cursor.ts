import type { Semaphore } from '../../async/semaphore.ts'
import type { FlowUpdate } from '../../domain/execution/flow-update.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type FeedEnd, type FeedEntry, type FlowFeed, toEntry } from './flow-feeds.ts'

/**
 * The reader of one subscription, such as an event stream. Implemented by createEventStreams and
 * createSubscriptionSet.
 */
export interface UpdateSink {
  /** True when the reader has more unread data than is allowed. No update is sent then. */
  isFull(): boolean
  /** Takes the next update. */
  send(entry: FeedEntry): void
  /** Called once, after the last update. */
  end(end: FeedEnd, lastSeq: number): void
}

export interface SubscriptionCursorOptions {
  readonly feed: FlowFeed
  readonly afterSeq: number
  readonly sink: UpdateSink
  /** Reads updates from the database that the feed no longer holds. */
  readonly readBack: (afterSeq: number, signal: AbortSignal) => AsyncIterable<FlowUpdate>
  /** Limits the reads from the database that run at the same time: each of them holds a page of updates in memory. */
  readonly readBackLimit: Semaphore
}

export interface SubscriptionCursor {
  /** Number of the last update that was sent. */
  readonly lastSeq: number
  /** Must be called when the sink has capacity again. */
  resume(): void
  stop(): void
}

/**
 * Delivers one subscription. Nothing is queued for a slow reader: its state is a sequence number. When it has capacity
 * again, delivery resumes from that number, from memory or from the database, with adjacent text chunks merged.
 */
export function createSubscriptionCursor({
  feed,
  afterSeq,
  sink,
  readBack,
  readBackLimit,
}: SubscriptionCursorOptions): SubscriptionCursor {
  let seq = afterSeq
  let isStarted = false
  let readingBack: AbortController | undefined
  let isBehind = false
  let stopped = false

  /** Returns false when the sink did not take the entry. */
  const give = (entry: FeedEntry): boolean => {
    if (stopped) return false
    if (sink.isFull()) {
      isBehind = true
      return false
    }
    seq = entry.seq
    sink.send(entry)
    return true
  }
  const finish = (end: FeedEnd) => {
    stop()
    sink.end(end, seq)
  }
  const deliver = () => {
    if (!isStarted || stopped || readingBack) return
    // Check backpressure first, so that a stalled reader costs nothing.
    if (sink.isFull()) {
      isBehind = true
      return
    }
    const entries = feed.after(seq)
    if (entries === undefined) {
      void catchUp()
      return
    }
    for (const entry of isBehind ? mergeEntries(entries) : entries) if (!give(entry)) return
    isBehind = false
    if (feed.end && feed.after(seq)?.length === 0) finish(feed.end)
  }
  /**
   * Delivers stored updates until the feed holds the rest. Resolves with whether it delivered everything that is
   * stored.
   */
  const deliverStored = async (signal: AbortSignal): Promise<boolean> => {
    let held: FlowUpdate | undefined
    for await (const update of readBack(seq, signal)) {
      if (stopped) return false
      const joined = held && mergeTextUpdates(held, update)
      if (held && !joined && !give(toEntry(held))) return false
      held = joined ?? update
      if (feed.after(held.seq) === undefined) continue
      give(toEntry(held))
      return false
    }
    return held === undefined || give(toEntry(held))
  }
  const catchUp = async () => {
    const abort = new AbortController()
    readingBack = abort
    let endBefore: FeedEnd | undefined
    let isAll = false
    try {
      isAll = await readBackLimit(() => {
        endBefore = feed.end
        return stopped ? Promise.resolve(false) : deliverStored(abort.signal)
      })
    } catch (error) {
      if (!stopped) finish({ error: OrchestratorError.from(error) })
    }
    readingBack = undefined
    if (stopped) return
    // The end is delivered only if all entries were read after the feed reported it. A feed without an end notifies
    // again when there are more entries.
    if (isAll && endBefore) finish(endBefore)
    else if (!isAll || feed.end) deliver()
  }
  const unwatch = feed.watch(() => deliver())
  const stop = () => {
    if (stopped) return
    stopped = true
    readingBack?.abort()
    unwatch()
  }
  // Deferred, so that the client is notified of its subscription before the first update arrives.
  setImmediate(() => {
    isStarted = true
    deliver()
  })

  return {
    get lastSeq() {
      return seq
    },
    resume: deliver,
    stop,
  }
}

/**
 * Merges adjacent text chunks of one step into one entry with the number of the last. Lazy: for a reader that becomes
 * full after the first entry, only this entry is built.
 */
function* mergeEntries(entries: readonly FeedEntry[]): Generator<FeedEntry, void> {
  let held: { readonly update: FlowUpdate; readonly alone: FeedEntry | undefined } | undefined
  for (const entry of entries) {
    const joined = held && mergeTextUpdates(held.update, entry.update)
    if (held && !joined) yield held.alone ?? toEntry(held.update)
    held = joined ? { update: joined, alone: undefined } : { update: entry.update, alone: entry }
  }
  if (held) yield held.alone ?? toEntry(held.update)
}

/** Maximum characters of text in one merged update. */
const MERGED_CHARACTERS = 65_536

/**
 * The second text chunk with the text of the first before its own; undefined when they are not chunks of the same
 * text.
 */
export function mergeTextUpdates(first: FlowUpdate, second: FlowUpdate): FlowUpdate | undefined {
  if (first.type !== 'step_progress' || second.type !== 'step_progress') return undefined
  if (first.path !== second.path || first.iteration !== second.iteration || first.data.sample !== second.data.sample)
    return undefined
  if (first.data.kind !== second.data.kind) return undefined
  if (first.data.delta.length + second.data.delta.length > MERGED_CHARACTERS) return undefined
  return { ...second, data: { ...second.data, delta: first.data.delta + second.data.delta } }
}
