import type { FlowDefinition, FlowDefinitionInput } from '../../domain/definition/flow-definition.ts'
import type { OrchestrationFlow } from '../../domain/execution/flow.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { FlowInsert, Store } from '../../repositories/repository.ts'
import type { FlowCache } from './flow-cache.ts'
import type { FlowDefinitions } from './flow-definitions.ts'
import { createFlowId } from './flow-id.ts'
import { carriedInto, toFlow } from './flow-view.ts'

export interface FlowCreationDeps {
  readonly store: Store
  readonly definitions: FlowDefinitions
  readonly cache: FlowCache
  readonly now: () => Date
}

/** A flow to store: its thread, its creator, and for a rerun the flow that it repeats. */
export interface NewFlow extends Pick<FlowInsert, 'threadId' | 'userId' | 'parentFlowId' | 'input' | 'metadata'> {
  readonly definition: FlowDefinitionInput | FlowDefinition
  /** Default: a new one. Must not be in use. */
  readonly id?: string
  /** Results of the parent flow that the new flow takes over. */
  readonly carried?: readonly StepResult[]
}

export type StoreFlow = (flow: NewFlow) => Promise<OrchestrationFlow>

/** Parses a definition and stores a PENDING flow of it. Throws FLOW_INVALID. */
export function createFlowCreation({ store, definitions, cache, now }: FlowCreationDeps): StoreFlow {
  return async ({ threadId, userId, definition: input, ...given }) => {
    const { definition, stored } = definitions.accept(input)
    const id = given.id ?? createFlowId()
    const flow: FlowInsert = {
      id,
      threadId,
      userId,
      name: definition.name,
      description: definition.description,
      flowType: definition.type,
      definition: stored,
      createdAt: now(),
      input: given.input,
      parentFlowId: given.parentFlowId,
      metadata: given.metadata,
      simulated: false,
      carried: given.carried?.map((result) => carriedInto(id, result)),
    }
    definitions.keep(id, definition, stored)
    await store.journal.createFlow(flow)
    const pending = cache.remember(flow)
    return toFlow(pending, definition, flow.carried ?? [])
  }
}
