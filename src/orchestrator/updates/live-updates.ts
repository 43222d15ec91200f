import { onAbort } from '../../async/on-abort.ts'
import type { FlowUpdate } from '../../domain/execution/flow-update.ts'
import type { FlowHead, Store, StoredUpdate } from '../../repositories/repository.ts'
import { toUpdates } from '../flows/flow-view.ts'
import { isFinal } from './update-log.ts'

/** Number of updates of a flow that are kept in memory for its subscribers, and of updates per read. */
const KEPT_UPDATES = 512

/** Reads stored updates after `afterSeq`, complete with their data. */
export type ReadUpdates = (flowId: string, afterSeq: number, limit: number) => Promise<readonly FlowUpdate[]>

export interface StreamUpdatesOptions {
  readonly afterSeq: number
  readonly signal?: AbortSignal
  /** Whether the flow is not running, so that no more updates come after the stored ones. */
  readonly isSettled: () => Promise<boolean>
}

/** The newest updates of a flow, shared by all its subscribers. */
interface Channel {
  recent: FlowUpdate[]
  /** Incremented by every publication. */
  version: number
  /** Sequence number of the newest update that was published here or read by a subscriber. */
  newestSeq: number
  /** Status and newest sequence number of the flow in the database, at the last poll. */
  head: FlowHead | undefined
  readonly wake: Set<() => void>
  subscribers: number
}

export interface LiveUpdatesDeps {
  /** Implemented by createReadUpdates. */
  readonly read: ReadUpdates
  /** Status and newest sequence number of flows, in one query. Implemented by UpdateRepository.heads. */
  readonly heads: (flowIds: readonly string[]) => Promise<ReadonlyMap<string, FlowHead>>
  /** Milliseconds between polls of the database, for flows that run in other processes. */
  readonly pollMs: number
}

/**
 * Streams stored updates to subscribers. Only durable updates are delivered, so a subscriber that reconnects to any
 * process, even after a crash, misses none and receives none twice. A slow subscriber takes no memory here: it reads
 * from the database at its own pace.
 */
export function createLiveUpdates({ read, heads, pollMs }: LiveUpdatesDeps) {
  const channels = new Map<string, Channel>()
  let isPolling = false

  /** Wakes the subscribers of flows that have new updates of another process. */
  const poll = async () => {
    const waiting = [...channels].filter(([, channel]) => channel.wake.size > 0)
    try {
      const found = waiting.length > 0 ? await heads(waiting.map(([flowId]) => flowId)) : new Map<string, FlowHead>()
      for (const [flowId, channel] of waiting) {
        const head = found.get(flowId)
        const isKnown = head && head.status === channel.head?.status && head.lastSeq <= channel.newestSeq
        channel.head = head
        if (!isKnown) wakeAll(channel)
      }
    } catch {
      // The subscribers receive the error of the database from their own reads.
      for (const [, channel] of waiting) wakeAll(channel)
    }
    isPolling = false
    pollSoon()
  }
  const pollSoon = () => {
    if (isPolling || channels.size === 0) return
    isPolling = true
    setTimeout(() => void poll(), pollMs)
  }

  const publish = (flowId: string, updates: readonly FlowUpdate[]) => {
    const channel = channels.get(flowId)
    if (!channel) return
    channel.recent.push(...updates)
    channel.version++
    channel.newestSeq = Math.max(channel.newestSeq, updates.at(-1)?.seq ?? 0)
    if (channel.recent.length > KEPT_UPDATES * 2) channel.recent = channel.recent.slice(-KEPT_UPDATES)
    wakeAll(channel)
  }

  async function* stream(
    flowId: string,
    { afterSeq, signal, isSettled }: StreamUpdatesOptions,
  ): AsyncGenerator<FlowUpdate, void> {
    const channel = join(channels, flowId)
    let seq = afterSeq
    try {
      for (;;) {
        const { version } = channel
        let last: FlowUpdate | undefined
        const updates = fromRecent(channel, seq) ?? (await read(flowId, seq, KEPT_UPDATES))
        const newest = updates.at(-1)?.seq ?? 0
        if (newest > channel.newestSeq) {
          // This read has found updates before the next poll, so the other subscribers are woken to read them too.
          channel.newestSeq = newest
          wakeAll(channel)
        }
        for (const update of updates) {
          if (signal?.aborted) return
          seq = update.seq
          last = update
          yield update
        }
        if (signal?.aborted) return
        const ended = last ? isFinal(last) && (await isSettled()) : await isSettled()
        if (ended && (fromRecent(channel, seq) ?? (await read(flowId, seq, 1))).length === 0) return
        if (updates.length === 0 && channel.version === version) {
          const woken = nextWake(channel, signal)
          pollSoon()
          await woken
        }
      }
    } finally {
      leave(channels, flowId, channel)
    }
  }

  return {
    /** Called with updates that this process has stored. */
    publish,
    /** Yields updates until the flow has ended or the signal aborts. */
    stream,
    /**
     * Wakes the subscribers of a flow that no longer runs in this process, so that they check whether it is settled.
     */
    ended(flowId: string) {
      const channel = channels.get(flowId)
      if (channel) wakeAll(channel)
    },
  }
}

export type LiveUpdates = ReturnType<typeof createLiveUpdates>

function join(channels: Map<string, Channel>, flowId: string): Channel {
  const channel = channels.get(flowId) ?? {
    recent: [],
    version: 0,
    newestSeq: 0,
    head: undefined,
    wake: new Set(),
    subscribers: 0,
  }
  channel.subscribers++
  channels.set(flowId, channel)
  return channel
}

function leave(channels: Map<string, Channel>, flowId: string, channel: Channel): void {
  if (--channel.subscribers === 0) channels.delete(flowId)
}

/** Updates after `seq`, as far as memory holds them without a gap; `undefined` if the database must be read. */
function fromRecent({ recent }: Channel, seq: number): readonly FlowUpdate[] | undefined {
  const start = recent.findIndex((update) => update.seq === seq + 1)
  if (start === -1) return undefined
  let end = start + 1
  while (end < recent.length && recent[end]?.seq === seq + 1 + end - start) end++
  return recent.slice(start, end)
}

function wakeAll(channel: Channel): void {
  const waiting = [...channel.wake]
  channel.wake.clear()
  for (const wake of waiting) wake()
}

/** Resolves when there may be new updates, or on abort, which may have come while the database was read. */
function nextWake(channel: Channel, signal: AbortSignal | undefined): Promise<void> {
  if (signal?.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const done = () => {
      channel.wake.delete(done)
      unlink?.()
      resolve()
    }
    channel.wake.add(done)
    const unlink = signal && onAbort(signal, done)
  })
}

/** Completes stored updates with the data that is stored in the step results only. */
export function createReadUpdates({ flows, updates }: Store): ReadUpdates {
  return async (flowId, afterSeq, limit) => {
    const stored = await updates.read(flowId, afterSeq, limit)
    if (stored.length === 0) return []
    const flow = await flows.find(flowId)
    if (!flow) return []
    const paths = stepsToRead(stored)
    const results = paths?.length === 0 ? [] : await flows.stepResults(flowId, { samples: true, paths })
    return toUpdates(flow, stored, results)
  }
}

/**
 * Steps whose results the updates omit; `undefined` for all of them, where the outcome of the flow is among the
 * updates.
 */
function stepsToRead(updates: readonly StoredUpdate[]): readonly string[] | undefined {
  const paths = new Set<string>()
  for (const { type, path, data } of updates) {
    if (data !== undefined) continue
    if (type !== 'step_complete' || path === undefined) return undefined
    paths.add(path)
  }
  return [...paths]
}
