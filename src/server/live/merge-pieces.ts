import type { FlowUpdate } from '../../domain/flow-update.ts'

/** Characters of text that merged updates may carry. */
const MERGED_CHARACTERS = 65_536

/** The second piece of text with the first before it and the number of the second; `undefined` where the two are not pieces of one text. */
export function joinPieces(first: FlowUpdate, second: FlowUpdate): FlowUpdate | undefined {
  if (first.type !== 'step_progress' || second.type !== 'step_progress') return undefined
  if (first.stepId !== second.stepId || first.iteration !== second.iteration || first.data.sample !== second.data.sample)
    return undefined
  if (first.data.kind !== second.data.kind) return undefined
  if (first.data.delta.length + second.data.delta.length > MERGED_CHARACTERS) return undefined
  return { ...second, data: { ...second.data, delta: first.data.delta + second.data.delta } }
}
