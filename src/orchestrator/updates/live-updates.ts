import { onAbort } from '../../async/on-abort.ts'
import type { FlowUpdate } from '../../domain/execution/flow-update.ts'
import type { FlowHead, Store, StoredUpdate } from '../../repositories/repository.ts'
import { toUpdates } from '../flows/flow-view.ts'
import { isFinal } from './update-log.ts'

const KEPT_UPDATES = 512

/** Reads stored updates with their data put back. */
export type ReadUpdates = (flowId: string, afterSeq: number, limit: number) => Promise<readonly FlowUpdate[]>

export interface StreamUpdatesOptions {
  readonly afterSeq: number
  readonly signal?: AbortSignal
  /** The flow is not running, so nothing will follow what is stored. */
  readonly isSettled: () => Promise<boolean>
}

/** The newest updates of a flow that somebody follows, for all its followers. */
interface Channel {
  recent: FlowUpdate[]
  /** Rises with every publication. */
  version: number
  /** Number of the newest update that was published here or read by a follower. */
  newestSeq: number
  /** What the database said of the flow when it was last asked. */
  head: FlowHead | undefined
  readonly wake: Set<() => void>
  followers: number
}

export interface LiveUpdatesOptions {
  readonly read: ReadUpdates
  /** How far flows are that somebody waits for; one question for all of them. */
  readonly heads: (flowIds: readonly string[]) => Promise<ReadonlyMap<string, FlowHead>>
  /** Milliseconds between looks at the database, for flows that run elsewhere. */
  readonly pollMs: number
}

/**
 * Hands stored updates to followers. Only what is durable is delivered, so a follower that reconnects anywhere, also after a crash,
 * misses nothing and gets nothing twice. A slow follower costs nothing here: it reads from the database at its own pace.
 */
export function createLiveUpdates({ read, heads, pollMs }: LiveUpdatesOptions) {
  const channels = new Map<string, Channel>()
  let isLooking = false

  /** Wakes those whose flow has come further elsewhere. */
  const look = async () => {
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
      // What is wrong with the database they learn when they read themselves.
      for (const [, channel] of waiting) wakeAll(channel)
    }
    isLooking = false
    lookSoon()
  }
  const lookSoon = () => {
    if (isLooking || channels.size === 0) return
    isLooking = true
    setTimeout(() => void look(), pollMs)
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

  async function* follow(
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
          // Read before the next look has seen it: the others are to read it too.
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
          lookSoon()
          await woken
        }
      }
    } finally {
      leave(channels, flowId, channel)
    }
  }

  return {
    publish,
    follow,
    ended(flowId: string) {
      const channel = channels.get(flowId)
      if (channel) wakeAll(channel)
    },
  }
}

export type LiveUpdates = ReturnType<typeof createLiveUpdates>

function join(channels: Map<string, Channel>, flowId: string): Channel {
  const channel = channels.get(flowId) ?? { recent: [], version: 0, newestSeq: 0, head: undefined, wake: new Set(), followers: 0 }
  channel.followers++
  channels.set(flowId, channel)
  return channel
}

function leave(channels: Map<string, Channel>, flowId: string, channel: Channel): void {
  if (--channel.followers === 0) channels.delete(flowId)
}

/** Updates after `seq`, as far as memory holds them without a gap; `undefined` where the database must be asked. */
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

/** Resolves when there may be something new, or on abort. */
function nextWake(channel: Channel, signal: AbortSignal | undefined): Promise<void> {
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

/** Stored updates with what their step results hold put back. */
export function createReadUpdates({ flows, updates }: Store): ReadUpdates {
  return async (flowId, afterSeq, limit) => {
    const stored = await updates.read(flowId, afterSeq, limit)
    if (stored.length === 0) return []
    const flow = await flows.find(flowId)
    if (!flow) return []
    const stepIds = stepsToRead(stored)
    const results = stepIds?.length === 0 ? [] : await flows.stepResults(flowId, { samples: true, stepIds })
    return toUpdates(flow, stored, results)
  }
}

/** Steps whose results the updates leave out; `undefined` where the outcome of the flow is among them, which holds every result. */
function stepsToRead(updates: readonly StoredUpdate[]): readonly string[] | undefined {
  const stepIds = new Set<string>()
  for (const { type, stepId, data } of updates) {
    if (data !== undefined) continue
    if (type !== 'step_complete' || stepId === undefined) return undefined
    stepIds.add(stepId)
  }
  return [...stepIds]
}
