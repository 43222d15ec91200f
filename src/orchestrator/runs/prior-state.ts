import type { FlowDefinition } from '../../domain/definition/flow-definition.ts'
import type { Attempt, StepResult } from '../../domain/execution/step-result.ts'
import { stepPlans } from '../../prompts/step-plan.ts'
import type { Store, StoredFlow } from '../../repositories/repository.ts'
import { type PriorState, recordKey } from '../flow-run.ts'
import { joinSampleRows } from '../flows/flow-view.ts'

export const NO_PRIOR_STATE: PriorState = {
  results: [],
  recorded: new Map(),
  attempts: new Map(),
  inFlight: new Set(),
  lastSeq: 0,
}

const UPDATES_PER_READ = 500

/** Reads paid results, attempts, the last sequence number, and the steps that a crash interrupted. */
export async function readPriorState(
  store: Store,
  flow: StoredFlow,
  definition: FlowDefinition,
  { unordered, isLoop }: { readonly unordered: boolean; readonly isLoop: boolean },
): Promise<PriorState> {
  const rows = await store.flows.stepResults(flow.id, { samples: true })
  const results = joinSampleRows(rows)
  const recorded = new Map<string, StepResult>()
  const attempts = new Map<string, readonly Attempt[]>()
  for (const result of [...rows.filter((row) => row.sample > 0), ...results]) {
    const key = recordKey(result.path, result.iteration, result.sample)
    // Outside a loop a further iteration is a repetition by executeStep, which replaces the first.
    if (result.status === 'SUCCESS') recorded.set(isLoop ? key : recordKey(result.path, 1, result.sample), result)
    if (result.attempts.length > 0) attempts.set(key, result.attempts)
  }
  const { inFlight, lastSeq } = await readStarts(store, flow.id)
  // The starts of the first steps are not awaited before their calls, so a crash may have left no trace of them.
  const leftNothing = flow.error?.code === 'FLOW_INTERRUPTED' && results.length === 0
  if (leftNothing) for (const id of firstSteps(definition, unordered)) inFlight.add(`${id}#1`)
  return { results, recorded, attempts, inFlight, lastSeq }
}

/** Updates are read page by page and not kept: together they hold every chunk of text that was streamed. */
async function readStarts(store: Store, flowId: string): Promise<{ readonly inFlight: Set<string>; readonly lastSeq: number }> {
  const inFlight = new Set<string>()
  for (let lastSeq = 0; ; ) {
    const updates = await store.updates.read(flowId, lastSeq, UPDATES_PER_READ)
    for (const { type, path, iteration } of updates) {
      if (type === 'step_start') inFlight.add(`${path}#${iteration}`)
      if (type === 'step_complete') inFlight.delete(`${path}#${iteration}`)
    }
    lastSeq = updates.at(-1)?.seq ?? lastSeq
    if (updates.length < UPDATES_PER_READ) return { inFlight, lastSeq }
  }
}

/** Steps that an execution may start before any other has ended. */
const firstSteps = (definition: FlowDefinition, unordered: boolean): readonly string[] => {
  const plans = stepPlans(definition)
  const independent = definition.steps.filter((step) => plans.get(step.id)?.waitsFor.size === 0).map((step) => step.id)
  return unordered ? independent : independent.slice(0, 1)
}
