import { onAbort } from '../../async/on-abort.ts'
import type { FlowUpdate } from '../../domain/execution/flow-update.ts'
import { SETTLED } from '../../domain/vocabulary.ts'
import type { NotificationBus } from '../../notifications/notification.ts'
import type { FlowHead } from '../../repositories/repository.ts'
import type { ReadUpdates } from './read-updates.ts'
import { isFinal } from './update-log.ts'

/** Number of updates of a flow that are kept in memory for its subscribers, and of updates per read. */
const KEPT_UPDATES = 512
/**
 * Milliseconds after its first subscription in which a flow is polled at the short interval: updates that were stored
 * before other processes knew of the subscription were not announced.
 */
const POLLED_OFTEN_MS = 1_000
/** Payload of a notification that does not name the newest update. */
const ENDED = 'ended'

export interface StreamUpdatesOptions {
  readonly afterSeq: number
  readonly signal?: AbortSignal
  /** Whether the flow is not running, so that no more updates come after the stored ones. */
  readonly isSettled: () => Promise<boolean>
  /** Whether this process runs the flow, so that no other one publishes its updates. Called before each wait. */
  readonly runsHere?: () => boolean
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
  /** Time (`performance.now`) of the first subscription. */
  readonly openedMs: number
  /** Ends the subscription to notifications of other processes. */
  endSubscription: (() => void) | undefined
}

export interface LiveUpdatesDeps {
  /** Implemented by createReadUpdates. */
  readonly read: ReadUpdates
  /** Status and newest sequence number of flows, in one query. Implemented by UpdateRepository.heads. */
  readonly heads: (flowIds: readonly string[]) => Promise<ReadonlyMap<string, FlowHead>>
  /** Carries the numbers of new updates between processes. */
  readonly bus: NotificationBus
  /** Milliseconds between polls of the database, for flows that run in other processes, while the bus is away. */
  readonly pollMs: number
  /** Milliseconds between polls while the bus is connected: they find what was stored by a process without a bus. */
  readonly connectedPollMs: number
}

/**
 * Streams stored updates to subscribers. Only durable updates are delivered, so a subscriber that reconnects to any
 * process, even after a crash, misses none and receives none twice. A slow subscriber takes no memory here: it reads
 * from the database at its own pace.
 */
export function createLiveUpdates({ read, heads, bus, pollMs, connectedPollMs }: LiveUpdatesDeps) {
  const channels = new Map<string, Channel>()
  let isPolling = false
  let pollTimer: NodeJS.Timeout | undefined
  let pollDueMs = Number.POSITIVE_INFINITY

  /** Wakes the subscribers of flows that have new updates of another process. */
  const poll = async () => {
    pollTimer = undefined
    pollDueMs = Number.POSITIVE_INFINITY
    isPolling = true
    const waiting = [...channels].filter(([, channel]) => channel.wake.size > 0)
    try {
      const found = waiting.length > 0 ? await heads(waiting.map(([flowId]) => flowId)) : new Map<string, FlowHead>()
      for (const [flowId, channel] of waiting) {
        const head = found.get(flowId)
        // The status of a settled flow stays the same while one of its steps runs, so its subscribers check each time.
        const isKnown =
          head && !SETTLED.includes(head.status) && head.status === channel.head?.status && head.lastSeq <= channel.newestSeq
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
  const pollSoon = (withinMs = intervalMs()) => {
    if (isPolling || channels.size === 0) return
    const dueMs = performance.now() + withinMs
    if (dueMs >= pollDueMs) return
    clearTimeout(pollTimer)
    pollDueMs = dueMs
    pollTimer = setTimeout(() => void poll(), withinMs)
  }
  const intervalMs = () => {
    if (!bus.isConnected()) return pollMs
    const youngMs = performance.now() - POLLED_OFTEN_MS
    for (const { openedMs, wake } of channels.values()) if (openedMs > youngMs && wake.size > 0) return pollMs
    return connectedPollMs
  }

  const topicOf = (flowId: string) => `flow:${flowId}`
  const announce = (flowId: string, payload: string) => {
    const topic = topicOf(flowId)
    if (bus.hasSubscribersElsewhere(topic)) bus.publish(topic, payload)
  }
  const receive = (channel: Channel, payload: string) => {
    if (payload !== ENDED && Number(payload) <= channel.newestSeq) return
    // A subscriber that is reading at this moment reads once more before it waits.
    channel.version++
    wakeAll(channel)
  }
  const subscribe = (flowId: string, channel: Channel) => {
    channel.endSubscription ??= bus.subscribe(topicOf(flowId), {
      onMessage: (payload) => receive(channel, payload),
      onGap: () => pollSoon(0),
    })
  }

  const publish = (flowId: string, updates: readonly FlowUpdate[]) => {
    announce(flowId, String(updates.at(-1)?.seq ?? ENDED))
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
    { afterSeq, signal, isSettled, runsHere }: StreamUpdatesOptions,
  ): AsyncGenerator<FlowUpdate, void> {
    const channel = join(channels, flowId)
    let seq = afterSeq
    try {
      for (;;) {
        // Before the read, so that no update falls between it and the subscription.
        if (!runsHere?.()) subscribe(flowId, channel)
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
     * Wakes the subscribers of a flow that no longer runs in this process, or that this process has ended for another
     * one, so that they check whether it is settled.
     */
    ended(flowId: string) {
      announce(flowId, ENDED)
      const channel = channels.get(flowId)
      if (!channel) return
      // A subscriber that asks at this moment whether the flow is settled asks once more before it waits.
      channel.version++
      wakeAll(channel)
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
    openedMs: performance.now(),
    endSubscription: undefined,
  }
  channel.subscribers++
  channels.set(flowId, channel)
  return channel
}

function leave(channels: Map<string, Channel>, flowId: string, channel: Channel): void {
  if (--channel.subscribers > 0) return
  channel.endSubscription?.()
  channels.delete(flowId)
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
