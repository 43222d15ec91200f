import type { FlowInsert, StoredFlow } from '../../repositories/repository.ts'

const MAX_FLOWS = 5_000

/**
 * Flows that this process has created and not started yet, so that their start reads nothing back. The claim checks
 * that no other process has run the flow meanwhile.
 */
export function createFlowCache() {
  // Oldest first. A flow that was evicted is read from the database when it starts.
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

// Each property is listed, because a rest pattern creates an object in dictionary mode of three times the size, and
// every waiting flow has one.
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
  attachments: flow.attachments,
  parentFlowId: flow.parentFlowId,
  ownerEpoch: 0,
  simulated: flow.simulated,
})
