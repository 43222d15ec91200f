import type { ThreadRight } from '../../../domain/users/thread.ts'
import { type StepWait, type StoredWait, type WaitDecision, type WaitKey, waitKey } from '../../../domain/waiting/wait.ts'
import type { WaitRepository } from '../../repository.ts'
import type { MemoryClaims } from './claims.ts'

export interface MemoryWaitsDeps {
  readonly claims: MemoryClaims
  readonly rightsOf: (userId: string, threadId: string) => readonly ThreadRight[]
}

export type MemoryWaits = ReturnType<typeof createMemoryWaits>

/** The waits of all flows in memory, by flow. */
export function createMemoryWaits({ claims, rightsOf }: MemoryWaitsDeps) {
  const flows = new Map<string, Map<string, StoredWait>>()

  const isOpen = (wait: StoredWait): boolean =>
    wait.decidedAt === undefined &&
    (wait.deadline === undefined || wait.deadline.getTime() > claims.now()) &&
    claims.claims.has(wait.flowId)

  const openWaits = function* (): Generator<StoredWait> {
    for (const { flowId } of claims.claims.values()) {
      for (const wait of flows.get(flowId)?.values() ?? []) if (isOpen(wait)) yield wait
    }
  }

  const end = (wait: StoredWait, decision: WaitDecision, decidedBy: string, decidedAt: Date) => {
    flows.get(wait.flowId)?.set(waitKey(wait), { ...wait, decision, decidedBy, decidedAt })
    claims.wakeAt(wait.flowId, 0)
  }

  const repository: WaitRepository = {
    of: async (flowId) => [...(flows.get(flowId)?.values() ?? [])],
    expire: async (flowId) => {
      for (const [key, wait] of flows.get(flowId) ?? []) {
        if (wait.decidedAt || !wait.deadline || wait.deadline.getTime() > claims.now()) continue
        flows.get(flowId)?.set(key, { ...wait, decision: { timedOut: true }, decidedAt: wait.deadline })
      }
    },
    decide: async ({ hash, decision, by, at, ...key }) => {
      const wait = flows.get(key.flowId)?.get(waitKey(key))
      if (!wait || wait.hash !== hash || !isOpen(wait)) return false
      end(wait, decision, by, at)
      return true
    },
    deliver: async ({ userId, event, correlation, data, at, limit }) => {
      const matching: WaitKey[] = []
      for (const wait of openWaits()) {
        if (wait.event !== event || wait.correlation !== correlation || matching.length === limit) continue
        if (!rightsOf(userId, wait.threadId).includes('write')) continue
        const { flowId, path, iteration } = wait
        matching.push({ flowId, path, iteration })
        end(wait, { data }, userId, at)
      }
      return matching
    },
    list: async (userId, limit, after) =>
      [...openWaits()]
        .filter((wait) => rightsOf(userId, wait.threadId).includes('read') && (!after || compare(wait, after) > 0))
        .sort(compare)
        .slice(0, limit),
  }

  return {
    repository,
    /** Stores open waits. One that is stored with the same hash stays as it is. */
    write(waits: readonly StepWait[]) {
      for (const wait of waits) {
        const ofFlow = flows.get(wait.flowId) ?? new Map<string, StoredWait>()
        flows.set(wait.flowId, ofFlow)
        if (ofFlow.get(waitKey(wait))?.hash !== wait.hash) ofFlow.set(waitKey(wait), wait)
      }
    },
    remove: (flowId: string): boolean => flows.delete(flowId),
  }
}

type Ordered = WaitKey & Pick<StepWait, 'since'>

function compare(a: Ordered, b: Ordered): number {
  const time = a.since.getTime() - b.since.getTime()
  if (time !== 0) return time
  if (a.flowId !== b.flowId) return a.flowId < b.flowId ? -1 : 1
  if (a.path !== b.path) return a.path < b.path ? -1 : 1
  return a.iteration - b.iteration
}
