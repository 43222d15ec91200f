import type { FlowInsert, StoredFlow } from '../../repositories/repository.ts'

const MAX_FLOWS = 5_000

/**
 * Flows that this process created and did not start yet, so that starting one need not read back what was just written.
 * What stands here never changes but for the status, and the claim decides on that.
 */
export function createFlowCache() {
  // Oldest first: whoever is not started for so long is read from the database again.
  const flows = new Map<string, StoredFlow>()
  return {
    find: (flowId: string): StoredFlow | undefined => flows.get(flowId),
    remember(flow: FlowInsert): StoredFlow {
      const pending = toPending(flow)
      flows.set(flow.id, pending)
      const [oldest] = flows.size > MAX_FLOWS ? flows.keys() : []
      if (oldest !== undefined) flows.delete(oldest)
      return pending
    },
    forget(flowId: string): void {
      flows.delete(flowId)
    },
  }
}

export type FlowCache = ReturnType<typeof createFlowCache>

// Written out: a rest pattern makes a slow object of three times the size, and one stands beside every flow that waits.
const toPending = (flow: FlowInsert): StoredFlow => ({
  id: flow.id,
  threadId: flow.threadId,
  userId: flow.userId,
  name: flow.name,
  description: flow.description,
  flowType: flow.flowType,
  definition: flow.definition,
  status: 'PENDING',
  createdAt: flow.createdAt,
  input: flow.input,
  metadata: flow.metadata,
  parentFlowId: flow.parentFlowId,
  ownerEpoch: 0,
  simulated: flow.simulated,
})
