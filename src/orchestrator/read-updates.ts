import type { Store, StoredUpdate } from '../repositories/repository.ts'
import { toUpdates } from './flow-view.ts'
import type { ReadUpdates } from './live-updates.ts'

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
