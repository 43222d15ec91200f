import { setTimeout as delay } from 'node:timers/promises'
import type { FlowStatusReport } from '../../domain/flow.ts'
import type { FlowUpdate } from '../../domain/flow-update.ts'
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

export interface FlowFeedPorts {
  /** Updates after `afterSeq`, then live to the end of the flow. */
  readonly stream: (flowId: string, userId: string, afterSeq: number, signal: AbortSignal) => AsyncIterable<FlowUpdate>
  readonly statusOf: (flowId: string) => Promise<Pick<FlowStatusReport, 'status' | 'error'>>
  /** Milliseconds in which another process may go on with a flow that a crash interrupted; until then its feed has not ended. */
  readonly resumedWithinMs: number
}

const KEPT_ENTRIES = 1_024
const KEPT_BYTES = 2_000_000
const RESUME_LOOK_MS = 100

/**
 * One reader per followed flow in this process, however many follow: every update is read once and written as text once. It reads from the
 * updates that are stored, so it does not matter which process runs the flow. A feed lives as long as somebody watches it.
 */
export function createFlowFeeds(ports: FlowFeedPorts) {
  const feeds = new Map<string, OpenFeed>()

  return {
    /** The feed of the flow. `userId`: somebody who may read it; asked for once, when the feed is opened. */
    open(flowId: string, userId: string, afterSeq: number): FlowFeed {
      const known = feeds.get(flowId)
      if (known) return known.feed
      const opened = openFeed(ports, { flowId, userId, afterSeq }, () => {
        if (feeds.get(flowId) === opened) feeds.delete(flowId)
      })
      feeds.set(flowId, opened)
      return opened.feed
    },
    get size(): number {
      return feeds.size
    },
    close(): void {
      for (const { close } of feeds.values()) close()
      feeds.clear()
    },
  }
}

export type FlowFeeds = ReturnType<typeof createFlowFeeds>

interface OpenFeed {
  readonly feed: FlowFeed
  readonly close: () => void
}

interface FeedPlace {
  readonly flowId: string
  readonly userId: string
  readonly afterSeq: number
}

function openFeed({ stream, statusOf, resumedWithinMs }: FlowFeedPorts, place: FeedPlace, onIdle: () => void): OpenFeed {
  const { flowId, userId, afterSeq } = place
  const abort = new AbortController()
  const watchers = new Set<() => void>()
  let entries: FeedEntry[] = []
  let bytes = 0
  /** Everything after this number is in `entries`. */
  let floor = afterSeq
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
    })
  }
  const add = (update: FlowUpdate) => {
    const entry = toEntry(update)
    entries.push(entry)
    bytes += entry.bytes.length
    if (entries.length > KEPT_ENTRIES * 2 || (bytes > KEPT_BYTES * 2 && entries.length > 1)) shorten()
    tellSoon()
  }
  const shorten = () => {
    let from = Math.max(0, entries.length - KEPT_ENTRIES)
    let kept = 0
    for (let index = entries.length - 1; index >= from; index--) {
      kept += entries[index]?.bytes.length ?? 0
      if (kept > KEPT_BYTES) from = Math.min(index + 1, entries.length - 1)
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
    let lastSeq = afterSeq
    for (;;) {
      for await (const update of stream(flowId, userId, lastSeq, abort.signal)) {
        lastSeq = update.seq
        add(update)
      }
      const { status, error } = await statusOf(flowId)
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
  return { feed, close }
}
