import type { OrphanOptions, QueueCounts, QueueRepository, UnrunnableDefinition } from '../../repository.ts'
import type { FlowRecords } from '../records.ts'
import type { MemoryClaim, MemoryClaims } from './claims.ts'

/** Finds the owners that are dead. Implemented by the memory store. */
export type FindDead = (options: OrphanOptions) => (ownerId: string) => boolean

export interface MemoryQueueDeps {
  readonly records: FlowRecords
  readonly claims: MemoryClaims
  readonly findDead: FindDead
}

/** The queue of flows in memory. */
export function createMemoryQueue({ records, claims, findDead }: MemoryQueueDeps): QueueRepository {
  const queuedFlows = (): MemoryClaim[] => [...claims.queues.values()].flatMap((queue) => [...queue.values()])

  /** The oldest flow that the process can run, of the user with the fewest owned flows. */
  function findNext(registered: readonly string[], perUser: number): MemoryClaim | undefined {
    let best: { readonly claim: MemoryClaim; readonly owned: number } | undefined
    for (const [userId, queue] of claims.queues) {
      const owned = claims.countOwned(userId)
      if (owned >= perUser || (best && owned > best.owned)) continue
      const claim = firstRunnable(queue.values(), registered)
      if (claim && (!best || owned < best.owned || queuedAt(claim) < queuedAt(best.claim))) best = { claim, owned }
    }
    return best?.claim
  }

  function requeue(flowId: string, isRecorded: boolean): boolean {
    const record = records.checkOut(flowId)
    const claim = claims.claims.get(flowId)
    const { runOptions } = record?.flow ?? {}
    const mayContinue = runOptions !== undefined && runOptions.resumeAfterCrash === undefined
    if (!record || claim?.ownerId === undefined || !mayContinue) return false
    const ownerEpoch = record.flow.ownerEpoch + 1
    const recorded = isRecorded && { runOptions: { ...runOptions, recordedEpoch: ownerEpoch } }
    record.flow = { ...record.flow, ownerId: undefined, ownerEpoch, ...recorded }
    claims.queue(record.flow, claim.requires, { queuedAtMs: record.flow.createdAt.getTime(), jobId: claim.jobId })
    return true
  }

  function wake(flowId: string): boolean {
    const record = records.status(flowId) === 'PAUSED' ? records.checkOut(flowId) : undefined
    if (!record) return false
    record.flow = { ...record.flow, status: 'RUNNING', ownerId: undefined }
    records.markRunning(flowId)
    claims.queue(record.flow, claims.claims.get(flowId)?.requires)
    return true
  }

  return {
    claimNext: async ({ ownerId, startedAt, registered, perUser = Number.POSITIVE_INFINITY, jobId }) => {
      const repeated = jobId === undefined ? undefined : [...claims.claims.values()].find((claim) => isRepeated(claim, jobId))
      const claim = repeated ?? findNext(registered, perUser)
      const record = claim && records.checkOut(claim.flowId)
      if (!record) {
        return { unrunnable: queuedFlows().filter((queued) => !isRunnable(queued, registered)).length }
      }
      const { flow } = record
      record.flow = { ...flow, ownerId, startedAt, ownerEpoch: flow.ownerEpoch + 1 }
      claims.own(record.flow, { requires: claim.requires, jobId })
      return { flowId: flow.id, epoch: record.flow.ownerEpoch }
    },
    release: async ({ flowId, epoch }) => records.read(flowId)?.flow.ownerEpoch === epoch && requeue(flowId, true),
    wake: async (flowId) => wake(flowId),
    wakeDue: async (limit) => {
      const due = [...claims.claims.values()].filter(({ wakeAtMs }) => wakeAtMs !== undefined && wakeAtMs <= claims.now())
      return due.flatMap(({ flowId }) => (wake(flowId) ? [flowId] : [])).slice(0, limit)
    },
    requeueOrphans: async (options) => {
      const isDead = findDead(options)
      const orphaned = [...claims.claims.values()].filter(({ ownerId }) => ownerId !== undefined && isDead(ownerId))
      return orphaned.flatMap(({ flowId }) => (requeue(flowId, false) ? [flowId] : []))
    },
    findQueued: async (olderThanMs, limit) => {
      const old = queuedFlows().filter((claim) => queuedAt(claim) < claims.now() - olderThanMs)
      return old
        .sort((a, b) => queuedAt(a) - queuedAt(b))
        .slice(0, limit)
        .map(({ flowId, userId, queuedAtMs = 0, requires }) => ({
          flowId,
          userId,
          queuedAt: new Date(queuedAtMs),
          ...(requires !== undefined && { requires }),
        }))
    },
    queuedAt: async (flowId) => {
      const queuedAtMs = claims.claims.get(flowId)?.queuedAtMs
      return queuedAtMs === undefined ? undefined : new Date(queuedAtMs)
    },
    countsByUser: async () => {
      const counts = new Map<string, QueueCounts>()
      for (const userId of new Set([...claims.queues.keys(), ...claims.ownedByUser.keys()])) {
        counts.set(userId, { queued: claims.queues.get(userId)?.size ?? 0, running: claims.countOwned(userId) })
      }
      return counts
    },
    unrunnable: async (registered) => {
      const found = new Map<string, UnrunnableDefinition>()
      for (const queued of queuedFlows()) {
        const flow = isRunnable(queued, registered) ? undefined : records.read(queued.flowId)?.flow
        if (!flow) continue
        const { name, definition } = flow
        const { flows = 0 } = found.get(definition.hash) ?? {}
        found.set(definition.hash, {
          name,
          ...(definition.version !== undefined && { version: definition.version }),
          flows: flows + 1,
        })
      }
      return [...found.values()]
    },
    // There is no other clock.
    clockOffsetMs: async () => 0,
  }
}

const queuedAt = ({ queuedAtMs = 0 }: MemoryClaim): number => queuedAtMs

const isRunnable = ({ requires }: MemoryClaim, registered: readonly string[]): boolean =>
  requires === undefined || registered.includes(requires)

const isRepeated = (claim: MemoryClaim, jobId: string): boolean =>
  claim.jobId === jobId && (claim.ownerId !== undefined || claim.queuedAtMs !== undefined)

function firstRunnable(queue: Iterable<MemoryClaim>, registered: readonly string[]): MemoryClaim | undefined {
  for (const claim of queue) if (isRunnable(claim, registered)) return claim
  return undefined
}
