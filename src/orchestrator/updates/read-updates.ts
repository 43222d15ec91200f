import type { FlowUpdate } from '../../domain/execution/flow-update.ts'
import type { Store, StoredUpdate } from '../../repositories/repository.ts'
import { toUpdates } from '../flows/flow-view.ts'

/** Reads stored updates after `afterSeq`, complete with their data. */
export type ReadUpdates = (flowId: string, afterSeq: number, limit: number) => Promise<readonly FlowUpdate[]>

/** Completes stored updates with the data that is stored in the step results and the flow only. */
export function createReadUpdates({ flows, updates }: Pick<Store, 'flows' | 'updates'>): ReadUpdates {
  return async (flowId, afterSeq, limit) => {
    const stored = await updates.read(flowId, afterSeq, limit)
    const paths = stepsToRead(stored)
    const flow = paths ? undefined : await flows.find(flowId)
    if (!paths && !flow) return []
    const results = paths?.length === 0 ? [] : await flows.stepResults(flowId, { samples: true, paths })
    return toUpdates(flowId, stored, results, flow)
  }
}

/**
 * Steps whose results the updates omit; `undefined` for all of them, where the outcome of the flow is among the
 * updates.
 */
function stepsToRead(updates: readonly StoredUpdate[]): readonly string[] | undefined {
  const paths = new Set<string>()
  for (const { type, path, data } of updates) {
    if (data !== undefined) continue
    if (type !== 'step_complete' || path === undefined) return undefined
    paths.add(path)
  }
  return [...paths]
}
