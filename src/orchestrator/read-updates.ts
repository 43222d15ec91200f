import type { Store } from '../repositories/repository.ts'
import { toUpdates } from './flow-view.ts'
import type { ReadUpdates } from './live-updates.ts'

/** Stored updates with what their step results hold put back. */
export function createReadUpdates({ flows, updates }: Store): ReadUpdates {
  return async (flowId, afterSeq, limit) => {
    const stored = await updates.read(flowId, afterSeq, limit)
    if (stored.length === 0) return []
    const flow = await flows.find(flowId)
    if (!flow) return []
    const needsResults = stored.some((update) => update.data === undefined)
    return toUpdates(flow, stored, needsResults ? await flows.stepResults(flowId, { samples: true }) : [])
  }
}
