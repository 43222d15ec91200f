import type { Semaphore } from '../../async/semaphore.ts'
import type { FlowUpdate } from '../../domain/execution/flow-update.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type FeedEnd, type FeedEntry, type FlowFeed, toEntry } from './flow-feeds.ts'

/** Where updates go: one subscription of one connection. */
export interface UpdateSink {
  /** More than it should hold waits for its reader. */
  isFull(): boolean
  /** Takes the next update. */
  send(entry: FeedEntry): void
  /** Nothing follows; called once. */
  end(end: FeedEnd, lastSeq: number): void
}

export interface SubscriptionCursorOptions {
  readonly feed: FlowFeed
  readonly afterSeq: number
  readonly sink: UpdateSink
  /** Updates after a number that the feed no longer holds, from the database. */
  readonly readBack: (afterSeq: number, signal: AbortSignal) => AsyncIterable<FlowUpdate>
  /** Each reading back holds a page of updates. */
  readonly turns: Semaphore
}

export interface SubscriptionCursor {
  readonly lastSeq: number
  /** To be called when the sink has room again. */
  resume(): void
  stop(): void
}

/**
 * Walks one subscription along a feed. What a slow reader has not taken is not kept for it: its place is a number, and when it reads again it
 * goes on from there, from memory or from the database, with pieces of text merged.
 */
export function createSubscriptionCursor({
  feed,
  afterSeq,
  sink,
  readBack,
  turns,
}: SubscriptionCursorOptions): SubscriptionCursor {
  let seq = afterSeq
  let isStarted = false
  let readingBack: AbortController | undefined
  let isBehind = false
  let stopped = false

  /** False where the sink did not take it. */
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
  const pump = () => {
    if (!isStarted || stopped || readingBack) return
    // Asked first: what a full reader has not taken is not even looked at.
    if (sink.isFull()) {
      isBehind = true
      return
    }
    const entries = feed.after(seq)
    if (entries === undefined) {
      void catchUp()
      return
    }
    for (const entry of isBehind ? mergePieces(entries) : entries) if (!give(entry)) return
    isBehind = false
    if (feed.end && feed.after(seq)?.length === 0) finish(feed.end)
  }
  /** Resolves with whether it came to the end of what is stored. */
  const readOn = async (signal: AbortSignal): Promise<boolean> => {
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
      isAll = await turns(() => {
        endBefore = feed.end
        return stopped ? Promise.resolve(false) : readOn(abort.signal)
      })
    } catch (error) {
      if (!stopped) finish({ error: OrchestratorError.from(error) })
    }
    readingBack = undefined
    if (stopped) return
    // The end is believed only where everything was read after it was known; without one the feed tells when there is more.
    if (isAll && endBefore) finish(endBefore)
    else if (!isAll || feed.end) pump()
  }
  const unwatch = feed.watch(() => pump())
  const stop = () => {
    if (stopped) return
    stopped = true
    readingBack?.abort()
    unwatch()
  }
  // Not at once: who subscribes has to be told so before the first update, also where the feed has something new in the same turn.
  setImmediate(() => {
    isStarted = true
    pump()
  })

  return {
    get lastSeq() {
      return seq
    },
    resume: pump,
    stop,
  }
}

/** Neighbouring pieces of text of one step as one piece, with the number of the last. One after the other: a reader that is full again has cost one. */
function* mergePieces(entries: readonly FeedEntry[]): Generator<FeedEntry, void> {
  let held: { readonly update: FlowUpdate; readonly alone: FeedEntry | undefined } | undefined
  for (const entry of entries) {
    const joined = held && mergeTextUpdates(held.update, entry.update)
    if (held && !joined) yield held.alone ?? toEntry(held.update)
    held = joined ? { update: joined, alone: undefined } : { update: entry.update, alone: entry }
  }
  if (held) yield held.alone ?? toEntry(held.update)
}

/** Characters of text that merged updates may carry. */
const MERGED_CHARACTERS = 65_536

/** The second piece of text with the first before it and the number of the second; `undefined` where the two are not pieces of one text. */
export function mergeTextUpdates(first: FlowUpdate, second: FlowUpdate): FlowUpdate | undefined {
  if (first.type !== 'step_progress' || second.type !== 'step_progress') return undefined
  if (first.stepId !== second.stepId || first.iteration !== second.iteration || first.data.sample !== second.data.sample)
    return undefined
  if (first.data.kind !== second.data.kind) return undefined
  if (first.data.delta.length + second.data.delta.length > MERGED_CHARACTERS) return undefined
  return { ...second, data: { ...second.data, delta: first.data.delta + second.data.delta } }
}
