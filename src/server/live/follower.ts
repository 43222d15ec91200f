import type { FlowUpdate } from '../../domain/flow-update.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type FeedEnd, type FeedEntry, type FlowFeed, toEntry } from './flow-feed.ts'

/** Where updates go: one subscription of one connection. */
export interface UpdateSink {
  /** More than it should hold waits for its reader. */
  isFull(): boolean
  /** Takes the next update. */
  send(entry: FeedEntry): void
  /** Nothing follows; called once. */
  end(end: FeedEnd, lastSeq: number): void
}

export interface FollowerOptions {
  readonly feed: FlowFeed
  readonly afterSeq: number
  readonly sink: UpdateSink
  /** Updates after a number that the feed no longer holds, from the database. */
  readonly readBack: (afterSeq: number, signal: AbortSignal) => AsyncIterable<FlowUpdate>
}

export interface Follower {
  readonly lastSeq: number
  /** To be called when the sink has room again. */
  resume(): void
  stop(): void
}

/** Characters of text that merged updates may carry. */
const MERGED_CHARACTERS = 65_536

/**
 * Walks one subscription along a feed. What a slow reader has not taken is not kept for it: its place is a number, and when it reads again it
 * goes on from there, from memory or from the database, with pieces of text merged.
 */
export function createFollower({ feed, afterSeq, sink, readBack }: FollowerOptions): Follower {
  const abort = new AbortController()
  let seq = afterSeq
  let isReadingBack = false
  let isBehind = false
  let stopped = false

  const pass = (entries: readonly FeedEntry[]): void => {
    const due = isBehind ? mergePieces(entries) : entries
    for (const entry of due) {
      if (stopped) return
      if (sink.isFull()) {
        isBehind = true
        return
      }
      seq = entry.seq
      sink.send(entry)
    }
    isBehind = false
  }
  const finish = (end: FeedEnd) => {
    stop()
    sink.end(end, seq)
  }
  const pump = () => {
    if (stopped || isReadingBack) return
    const entries = feed.after(seq)
    if (entries === undefined) {
      void catchUp()
      return
    }
    pass(entries)
    if (!stopped && feed.end && feed.after(seq)?.length === 0) finish(feed.end)
  }
  const catchUp = async () => {
    isReadingBack = true
    try {
      for await (const update of readBack(seq, abort.signal)) {
        pass([toEntry(update)])
        // Full: the rest is read again when there is room.
        if (stopped || isBehind || feed.after(seq) !== undefined) break
      }
    } catch (error) {
      if (!stopped) finish({ error: OrchestratorError.from(error) })
    }
    isReadingBack = false
    if (!sink.isFull()) pump()
  }
  const unwatch = feed.watch(() => pump())
  const stop = () => {
    if (stopped) return
    stopped = true
    abort.abort()
    unwatch()
  }
  // Not at once: who subscribes has to be told so before the first update.
  setImmediate(pump)

  return {
    get lastSeq() {
      return seq
    },
    resume: pump,
    stop,
  }
}

/** Neighbouring pieces of text of one step as one piece, with the number of the last. */
function mergePieces(entries: readonly FeedEntry[]): readonly FeedEntry[] {
  const merged: FeedEntry[] = []
  let open: { update: FlowUpdate; readonly alone: FeedEntry; pieces: number } | undefined
  const closeOpen = () => {
    if (!open) return
    const { update, alone, pieces } = open
    merged.push(pieces === 1 ? alone : toEntry(update))
  }
  for (const entry of entries) {
    const joined = open && joinPieces(open.update, entry.update)
    if (open && joined) {
      open.update = joined
      open.pieces++
    } else {
      closeOpen()
      open = { update: entry.update, alone: entry, pieces: 1 }
    }
  }
  closeOpen()
  return merged
}

function joinPieces(first: FlowUpdate, second: FlowUpdate): FlowUpdate | undefined {
  if (first.type !== 'step_progress' || second.type !== 'step_progress') return undefined
  if (first.stepId !== second.stepId || first.iteration !== second.iteration || first.data.sample !== second.data.sample)
    return undefined
  if (first.data.delta.length + second.data.delta.length > MERGED_CHARACTERS) return undefined
  return { ...second, data: { ...second.data, delta: first.data.delta + second.data.delta } }
}
