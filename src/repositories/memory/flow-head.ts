import type { CallIntent } from '../../domain/execution/call-intent.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { StepTurn } from '../../domain/tools/turns.ts'
import {
  INPUT_START_CHARACTERS,
  type StepState,
  type StoredFlow,
  type StoredFlowResult,
  type StoredUpdate,
} from '../repository.ts'
import type { PackedFlowHead } from './pages.ts'

/**
 * A flow that is not packed. Its results and updates are created with the first entry, because many flows wait a long
 * time before it.
 */
export interface OpenFlow {
  flow: StoredFlow
  /** By id, in the order in which they were recorded. */
  results: Map<string, StepResult> | undefined
  updates: StoredUpdate[] | undefined
  intents: CallIntent[] | undefined
  turns: StepTurn[] | undefined
}

export function toFlowHead({ flow, results }: OpenFlow): PackedFlowHead {
  const { definition, input, metadata, attachments, runOptions, result, ...listed } = flow
  return {
    flow: { ...listed, inputStart: input && startOf(input), result: result && withoutOutput(result) },
    states: toStates(results),
  }
}

const withoutOutput = ({ output: _, ...figures }: StoredFlowResult): PackedFlowHead['flow']['result'] => figures

/** The first characters, none of them cut in two. They are copied: a slice would keep the whole text in memory. */
const startOf = (input: string): string =>
  Array.from(input.slice(0, 2 * INPUT_START_CHARACTERS))
    .slice(0, INPUT_START_CHARACTERS)
    .join('')

function toStates(results: OpenFlow['results']): readonly StepState[] {
  const states = new Map<string, StepState>()
  for (const { path, status, sample } of results?.values() ?? []) {
    if (sample === 0) states.set(`${status} ${path}`, { path, status })
  }
  return [...states.values()]
}
