import { setTimeout as delay } from 'node:timers/promises'
import type { FlowStatusReport } from '../../domain/execution/flow.ts'
import type { FlowUpdate } from '../../domain/execution/flow-update.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** An update with the bytes of its JSON, which are made once for all its readers. */
export interface FeedEntry {
  readonly seq: number
  readonly update: FlowUpdate
  readonly bytes: Buffer
}

export const toEntry = (update: FlowUpdate): FeedEntry => ({
  seq: update.seq,
  update,
  bytes: Buffer.from(JSON.stringify(update)),
})

/** The end of a feed: the flow has this status and produces no more updates, or reading the feed failed. */
export type FeedEnd = { readonly status: string } | { readonly error: OrchestratorError }

/** The updates of one flow, read once for all subscriptions of this process. */
export interface FlowFeed {
  /**
   * Entries after `seq`, in order; undefined when this feed no longer holds all of them, or holds joined text of which
   * the reader has the beginning. The result may be the list of the feed itself: callers must read it before they
   * return to the event loop.
   */
  after(seq: number): readonly FeedEntry[] | undefined
  readonly end: FeedEnd | undefined
  /**
   * Calls back, synchronously, after new entries and at the end of the feed. Returns the function that stops the
   * calls.
   */
  watch(onChange: () => void): () => void
}

export interface FlowFeedsDeps {
  /**
   * Updates after `afterSeq`, stored ones and then live ones, to the end of the flow. Implemented by
   * OrchestratorService.streamFlow.
   */
  readonly stream: (flowId: string, userId: string, afterSeq: number, signal: AbortSignal) => AsyncIterable<FlowUpdate>
  /** Implemented by OrchestratorService.getFlowStatus. */
  readonly statusOf: (flowId: string) => Promise<Pick<FlowStatusReport, 'status' | 'error'>>
  /**
   * Milliseconds in which another process may resume a flow that a crash interrupted. Its feed does not end earlier.
   */
  readonly resumedWithinMs: number
}

const RESUME_POLL_INTERVAL_MS = 100
/** Maximum updates buffered before the watchers are notified. Long flows are read in pages of half this size. */
const MAX_ENTRIES = 1_024
const MAX_BYTES = 4_000_000
/**
 * Number of updates kept afterwards for readers that are slightly behind. Small, because a process may serve thousands
 * of flows.
 */
const KEPT_ENTRIES = 128
const KEPT_BYTES = 131_072

/**
 * One feed per subscribed flow in this process, for any number of subscriptions: every update is read and serialized
 * once. The feed reads the stored updates, so it does not matter which process runs the flow. It lives as long as it
 * has a watcher.
 */
export function createFlowFeeds(deps: FlowFeedsDeps) {
  const feeds = new Map<string, OpenFeed>()
  const all = new Set<OpenFeed>()

  return {
    /** The feed of the flow. `userId`: a user who may read the flow; used once, when the feed is opened. */
    open(flowId: string, userId: string, afterSeq: number): FlowFeed {
      const known = feeds.get(flowId)
      if (known?.reaches(afterSeq)) return known.feed
      const opened = openFeed(deps, { flowId, userId, afterSeq }, () => {
        all.delete(opened)
        if (feeds.get(flowId) === opened) feeds.delete(flowId)
      })
      all.add(opened)
      feeds.set(flowId, opened)
      return opened.feed
    },
    get size(): number {
      return all.size
    },
    close(): void {
      for (const { close } of all) close()
    },
  }
}

export type FlowFeeds = ReturnType<typeof createFlowFeeds>

interface OpenFeed {
  readonly feed: FlowFeed
  /**
   * Whether a reader that has everything up to `seq` can continue with the entries of this feed. A feed that was opened
   * at a number that does not exist yet may never hold an entry.
   */
  readonly reaches: (seq: number) => boolean
  readonly close: () => void
}

interface FeedStart {
  readonly flowId: string
  readonly userId: string
  readonly afterSeq: number
}

function openFeed({ stream, statusOf, resumedWithinMs }: FlowFeedsDeps, start: FeedStart, onIdle: () => void): OpenFeed {
  const { flowId, userId, afterSeq } = start
  const abort = new AbortController()
  const watchers = new Set<() => void>()
  let entries: FeedEntry[] = []
  let bytes = 0
  /** Every update after this number is in `entries`. */
  let floor = afterSeq
  let lastSeq = afterSeq
  let end: FeedEnd | undefined

  const notify = () => {
    for (const watcher of watchers) watcher()
  }
  // Watchers are notified once per turn of the event loop, so that a batch of updates costs one pass over them.
  let isScheduled = false
  const scheduleNotify = () => {
    if (isScheduled) return
    isScheduled = true
    setImmediate(() => {
      isScheduled = false
      notify()
      if (entries.length > KEPT_ENTRIES || bytes > KEPT_BYTES) shorten(KEPT_ENTRIES, KEPT_BYTES)
    })
  }
  const add = (update: FlowUpdate) => {
    const entry = toEntry(update)
    entries.push(entry)
    lastSeq = entry.seq
    bytes += entry.bytes.length
    if (entries.length > MAX_ENTRIES || bytes > MAX_BYTES) shorten(MAX_ENTRIES / 2, MAX_BYTES / 2)
    scheduleNotify()
  }
  const shorten = (keptEntries: number, keptBytes: number) => {
    let from = Math.max(0, entries.length - keptEntries)
    let kept = 0
    for (let index = entries.length - 1; index >= from; index--) {
      kept += entries[index]?.bytes.length ?? 0
      // The newest entry stays, whatever its length.
      if (kept > keptBytes) from = Math.min(index + 1, entries.length - 1)
    }
    floor = entries[from - 1]?.seq ?? floor
    entries = entries.slice(from)
    bytes = entries.reduce((sum, entry) => sum + entry.bytes.length, 0)
  }
  const isResumed = async () => {
    for (const deadlineMs = performance.now() + resumedWithinMs; performance.now() < deadlineMs; ) {
      await delay(RESUME_POLL_INTERVAL_MS, undefined, { signal: abort.signal })
      if ((await statusOf(flowId)).status === 'RUNNING') return true
    }
    return false
  }
  const readToEnd = async (): Promise<FeedEnd> => {
    for (;;) {
      for await (const update of stream(flowId, userId, lastSeq, abort.signal)) add(update)
      abort.signal.throwIfAborted()
      const { status, error } = await statusOf(flowId)
      // The flow was executed again in the meantime, so the feed continues.
      if (status === 'RUNNING' || status === 'PENDING') continue
      if (error?.code !== 'FLOW_INTERRUPTED' || !(await isResumed())) return { status }
    }
  }
  const read = async () => {
    try {
      end = await readToEnd()
    } catch (error) {
      end = { error: OrchestratorError.from(error) }
    }
    // New subscriptions get a new feed from here on, because the flow may be executed again.
    onIdle()
    notify()
  }
  const close = () => {
    abort.abort()
    onIdle()
  }
  void read()

  /**
   * Whether the number lies within those of one entry. The text of an ended flow is joined in the store, so an entry
   * may begin with text that the reader has already, and only the store can cut it.
   */
  const isWithinEntry = (seq: number): boolean => {
    const next = entries.findLastIndex((entry) => entry.seq <= seq) + 1
    return entries[next] !== undefined && (entries[next - 1]?.seq ?? floor) < seq
  }

  const feed: FlowFeed = {
    after(seq) {
      if (seq < floor || isWithinEntry(seq)) return undefined
      const from = entries.findLastIndex((entry) => entry.seq <= seq) + 1
      return from === 0 ? entries : entries.slice(from)
    },
    get end() {
      return end
    },
    watch(onChange) {
      watchers.add(onChange)
      return () => {
        watchers.delete(onChange)
        if (watchers.size === 0) close()
      }
    },
  }
  return { feed, reaches: (seq) => seq >= floor || entries.length > 0, close }
}
