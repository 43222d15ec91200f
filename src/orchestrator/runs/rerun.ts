import type { FlowType } from '../../domain/vocabulary.ts'
import type { Executor } from '../../executors/executor.ts'
import type { Store, StoredFlow } from '../../repositories/repository.ts'
import type { NewFlow } from '../flows/flow-creation.ts'
import { type FlowDefinitions, getStep } from '../flows/flow-definitions.ts'
import { joinSampleRows } from '../flows/flow-view.ts'
import { carriedResults } from './carried-results.ts'

export interface RerunDeps {
  readonly store: Store
  readonly definitions: FlowDefinitions
  /** Implemented by the registry of executors. */
  readonly executorOf: (type: FlowType) => Pick<Executor, 'noImplicitPredecessor' | 'loop'>
}

/** The new flow that repeats a stored one, with the results that it takes over. Throws STEP_NOT_FOUND. */
export async function toRerun(
  { store, definitions, executorOf }: RerunDeps,
  flow: StoredFlow,
  { fromStep, input }: { readonly fromStep?: string; readonly input?: string },
): Promise<Omit<NewFlow, 'userId'>> {
  const definition = definitions.rebuild(flow)
  const from = fromStep === undefined ? 0 : getStep(flow.id, definition, fromStep).index
  const rows = from === 0 ? [] : joinSampleRows(await store.flows.stepResults(flow.id, { samples: true }))
  const plan = {
    definition,
    executor: executorOf(definition.type),
    from,
    otherInput: input !== undefined && input !== flow.input,
    changedSteps: definitions.changedSteps(flow, definition),
  }
  return {
    threadId: flow.threadId,
    definition,
    parentFlowId: flow.id,
    input: input ?? flow.input,
    metadata: flow.metadata,
    attachments: input === undefined || input === flow.input ? flow.attachments : undefined,
    carried: carriedResults(plan, rows),
  }
}
