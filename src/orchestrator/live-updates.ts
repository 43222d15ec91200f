import type { FlowUpdate } from '../domain/flow-update.ts'
import { isFinal } from './update-log.ts'

const KEPT_UPDATES = 512

/** Reads stored updates with their data put back. */
export type ReadUpdates = (flowId: string, afterSeq: number, limit: number) => Promise<readonly FlowUpdate[]>

export interface FollowOptions {
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
  readonly wake: Set<() => void>
  followers: number
}

export interface LiveUpdatesOptions {
  readonly read: ReadUpdates
  /** Milliseconds between looks at the database, for flows that run elsewhere. */
  readonly pollMs: number
}

/**
 * Hands stored updates to followers. Only what is durable is delivered, so a follower that reconnects anywhere, also after a crash,
 * misses nothing and gets nothing twice. A slow follower costs nothing here: it reads from the database at its own pace.
 */
export function createLiveUpdates({ read, pollMs }: LiveUpdatesOptions) {
  const channels = new Map<string, Channel>()

  const publish = (flowId: string, updates: readonly FlowUpdate[]) => {
    const channel = channels.get(flowId)
    if (!channel) return
    channel.recent.push(...updates)
    channel.version++
    if (channel.recent.length > KEPT_UPDATES * 2) channel.recent = channel.recent.slice(-KEPT_UPDATES)
    wakeAll(channel)
  }

  async function* follow(flowId: string, { afterSeq, signal, isSettled }: FollowOptions): AsyncGenerator<FlowUpdate, void> {
    const channel = join(channels, flowId)
    let seq = afterSeq
    try {
      for (;;) {
        const { version } = channel
        let last: FlowUpdate | undefined
        const updates = fromRecent(channel, seq) ?? (await read(flowId, seq, KEPT_UPDATES))
        for (const update of updates) {
          if (signal?.aborted) return
          seq = update.seq
          last = update
          yield update
        }
        if (signal?.aborted) return
        const ended = last ? isFinal(last) && (await isSettled()) : await isSettled()
        if (ended && (fromRecent(channel, seq) ?? (await read(flowId, seq, 1))).length === 0) return
        if (updates.length === 0 && channel.version === version) await nextWake(channel, pollMs, signal)
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
  const channel = channels.get(flowId) ?? { recent: [], version: 0, wake: new Set(), followers: 0 }
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

/** Resolves at the next update, after the poll interval or on abort, whichever is first. */
function nextWake(channel: Channel, pollMs: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      channel.wake.delete(done)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, pollMs)
    channel.wake.add(done)
    signal?.addEventListener('abort', done)
  })
}
