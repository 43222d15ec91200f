import { setTimeout as delay } from 'node:timers/promises'
import type { FlowStatusReport } from '../../domain/execution/flow.ts'
import type { FlowUpdate } from '../../domain/execution/flow-update.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** An update with the bytes of its JSON, which are made once for all who follow. */
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

/** How a feed ended: nothing follows, or it could not be read on. */
export type FeedEnd = { readonly status: string } | { readonly error: OrchestratorError }

export interface FlowFeed {
  /** Entries after `seq`, in order; `undefined` where this feed no longer holds all of them. Given by reference: read at once. */
  after(seq: number): readonly FeedEntry[] | undefined
  readonly end: FeedEnd | undefined
  /** Calls back, synchronously, when there is something new or the feed has ended. Returns what stops it. */
  watch(onChange: () => void): () => void
}

export interface FlowFeedDeps {
  /** Updates after `afterSeq`, then live to the end of the flow. */
  readonly stream: (flowId: string, userId: string, afterSeq: number, signal: AbortSignal) => AsyncIterable<FlowUpdate>
  readonly statusOf: (flowId: string) => Promise<Pick<FlowStatusReport, 'status' | 'error'>>
  /** Milliseconds in which another process may go on with a flow that a crash interrupted; until then its feed has not ended. */
  readonly resumedWithinMs: number
}

const RESUME_LOOK_MS = 100
/** Updates that wait until the followers were told of them; whoever opens a long flow gets it in pages of half as many. */
const MAX_ENTRIES = 1_024
const MAX_BYTES = 4_000_000
/** Updates that are kept after that, for readers who are a little behind: a process may follow thousands of flows. */
const KEPT_ENTRIES = 128
const KEPT_BYTES = 131_072

/**
 * One reader per followed flow in this process, however many follow: every update is read once and written as text once. It reads from the
 * updates that are stored, so it does not matter which process runs the flow. A feed lives as long as somebody watches it.
 */
export function createFlowFeeds(deps: FlowFeedDeps) {
  const feeds = new Map<string, OpenFeed>()
  const all = new Set<OpenFeed>()

  return {
    /** The feed of the flow. `userId`: somebody who may read it; asked for once, when the feed is opened. */
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
   * Whether somebody who has everything up to `seq` comes to what this feed holds. A feed that was opened behind a number that nobody has seen yet may
   * never hold anything.
   */
  readonly reaches: (seq: number) => boolean
  readonly close: () => void
}

interface FeedPlace {
  readonly flowId: string
  readonly userId: string
  readonly afterSeq: number
}

function openFeed({ stream, statusOf, resumedWithinMs }: FlowFeedDeps, place: FeedPlace, onIdle: () => void): OpenFeed {
  const { flowId, userId, afterSeq } = place
  const abort = new AbortController()
  const watchers = new Set<() => void>()
  let entries: FeedEntry[] = []
  let bytes = 0
  /** Everything after this number is in `entries`. */
  let floor = afterSeq
  let lastSeq = afterSeq
  let end: FeedEnd | undefined

  const tellAll = () => {
    for (const watcher of watchers) watcher()
  }
  // Told once per turn of the event loop: a batch of updates is one walk over all who watch.
  let telling = false
  const tellSoon = () => {
    if (telling) return
    telling = true
    setImmediate(() => {
      telling = false
      tellAll()
      if (entries.length > KEPT_ENTRIES || bytes > KEPT_BYTES) shorten(KEPT_ENTRIES, KEPT_BYTES)
    })
  }
  const add = (update: FlowUpdate) => {
    const entry = toEntry(update)
    entries.push(entry)
    lastSeq = entry.seq
    bytes += entry.bytes.length
    if (entries.length > MAX_ENTRIES || bytes > MAX_BYTES) shorten(MAX_ENTRIES / 2, MAX_BYTES / 2)
    tellSoon()
  }
  const shorten = (keptEntries: number, keptBytes: number) => {
    let from = Math.max(0, entries.length - keptEntries)
    let kept = 0
    for (let index = entries.length - 1; index >= from; index--) {
      kept += entries[index]?.bytes.length ?? 0
      // The newest stays, however long it is.
      if (kept > keptBytes) from = Math.min(index + 1, entries.length - 1)
    }
    floor = entries[from - 1]?.seq ?? floor
    entries = entries.slice(from)
    bytes = entries.reduce((sum, entry) => sum + entry.bytes.length, 0)
  }
  /** Resolves true when the flow runs again. */
  const isResumed = async () => {
    for (const deadlineMs = performance.now() + resumedWithinMs; performance.now() < deadlineMs; ) {
      await delay(RESUME_LOOK_MS, undefined, { signal: abort.signal })
      if ((await statusOf(flowId)).status === 'RUNNING') return true
    }
    return false
  }
  const readToEnd = async (): Promise<FeedEnd> => {
    for (;;) {
      for await (const update of stream(flowId, userId, lastSeq, abort.signal)) add(update)
      abort.signal.throwIfAborted()
      const { status, error } = await statusOf(flowId)
      // Executed again in this moment: the followers go on.
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
    // A feed that has ended answers nobody new: the flow may be executed again.
    onIdle()
    tellAll()
  }
  const close = () => {
    abort.abort()
    onIdle()
  }
  void read()

  const feed: FlowFeed = {
    after(seq) {
      if (seq < floor) return undefined
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
