import { LRUCache } from 'lru-cache'
import type { NewFlow, StoredFlow } from '../repositories/repository.ts'

/**
 * Flows that this process created and did not start yet, so that starting one need not read back what was just written.
 * What stands here never changes but for the status, and the claim decides on that.
 */
export function createFlowCache() {
  const flows = new LRUCache<string, StoredFlow>({ max: 5_000 })
  return {
    find: (flowId: string): StoredFlow | undefined => flows.get(flowId),
    remember({ carried, ...flow }: NewFlow): StoredFlow {
      const pending: StoredFlow = { ...flow, status: 'PENDING', ownerEpoch: 0 }
      flows.set(flow.id, pending)
      return pending
    },
    forget(flowId: string): void {
      flows.delete(flowId)
    },
  }
}

export type FlowCache = ReturnType<typeof createFlowCache>
