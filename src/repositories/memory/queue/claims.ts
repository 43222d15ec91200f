import type { StoredFlow } from '../../repository.ts'

/** An active flow; a flow without an owner is queued if it has `queuedAtMs`, otherwise paused. */
export interface MemoryClaim {
  readonly flowId: string
  readonly userId: string
  readonly ownerId?: string
  readonly queuedAtMs?: number
  readonly jobId?: string
  readonly wakeAtMs?: number
  readonly requires?: string
}

export type MemoryClaims = ReturnType<typeof createMemoryClaims>

/** The active flows of the process, with the queue of each user and the number of flows that run for it. */
export function createMemoryClaims(now: () => number) {
  const claims = new Map<string, MemoryClaim>()
  /** By user; each queue is in the order of `queuedAtMs`. */
  const queues = new Map<string, Map<string, MemoryClaim>>()
  const owned = new Map<string, number>()
  /** The newest entry of each queue. */
  const lastQueued = new Map<string, number>()

  const count = (userId: string, change: number) => {
    const flows = (owned.get(userId) ?? 0) + change
    if (flows > 0) owned.set(userId, flows)
    else owned.delete(userId)
  }

  const end = (flowId: string) => {
    const claim = claims.get(flowId)
    if (!claim) return
    claims.delete(flowId)
    if (claim.ownerId !== undefined) count(claim.userId, -1)
    const queue = queues.get(claim.userId)
    if (!queue?.delete(flowId) || queue.size > 0) return
    queues.delete(claim.userId)
    lastQueued.delete(claim.userId)
  }

  const put = (claim: MemoryClaim) => {
    end(claim.flowId)
    claims.set(claim.flowId, claim)
    if (claim.ownerId !== undefined) return count(claim.userId, 1)
    if (claim.queuedAtMs === undefined) return
    const queue = queues.get(claim.userId) ?? new Map<string, MemoryClaim>()
    const newest = lastQueued.get(claim.userId) ?? Number.NEGATIVE_INFINITY
    queue.set(claim.flowId, claim)
    queues.set(claim.userId, newest <= claim.queuedAtMs ? queue : new Map([...queue].sort(byTime)))
    lastQueued.set(claim.userId, Math.max(newest, claim.queuedAtMs))
  }

  const views: {
    readonly claims: ReadonlyMap<string, MemoryClaim>
    readonly queues: ReadonlyMap<string, ReadonlyMap<string, MemoryClaim>>
    readonly ownedByUser: ReadonlyMap<string, number>
  } = { claims, queues, ownedByUser: owned }

  return {
    ...views,
    now,
    countOwned: (userId: string): number => owned.get(userId) ?? 0,
    isQueued: (flowId: string): boolean => claims.get(flowId)?.queuedAtMs !== undefined,
    own({ id, userId, ownerId }: StoredFlow, { requires, jobId }: Pick<MemoryClaim, 'requires' | 'jobId'>) {
      put({ flowId: id, userId, ownerId, requires, jobId })
    },
    queue({ id, userId }: StoredFlow, requires: string | undefined, { queuedAtMs = now(), jobId }: Partial<MemoryClaim> = {}) {
      put({ flowId: id, userId, requires, queuedAtMs, jobId })
    },
    /** The flow has no owner and is not queued. An instant that was set while it ran stays if it is earlier. */
    pause({ id, userId }: StoredFlow, wakeAt: Date | undefined) {
      const { requires, wakeAtMs } = claims.get(id) ?? {}
      const instants = [wakeAtMs, wakeAt?.getTime()].filter((ms) => ms !== undefined)
      put({ flowId: id, userId, requires, wakeAtMs: instants.length > 0 ? Math.min(...instants) : undefined })
    },
    /** Sets when the flow is due, whether it runs or is paused. */
    wakeAt(flowId: string, wakeAtMs: number) {
      const claim = claims.get(flowId)
      if (claim) claims.set(flowId, { ...claim, wakeAtMs })
    },
    end,
  }
}

const byTime = ([, a]: [string, MemoryClaim], [, b]: [string, MemoryClaim]): number => (a.queuedAtMs ?? 0) - (b.queuedAtMs ?? 0)
