import type { FlowDefinition, FlowDefinitionInput } from '../../domain/definition/flow-definition.ts'
import type { DefinitionParser } from '../../domain/definition/parser.ts'
import { definitionError } from '../../domain/definition/problems.ts'
import type { OrchestrationFlow } from '../../domain/execution/flow.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { FlowInsert, Store } from '../../repositories/repository.ts'
import { findHiddenOperations, type HiddenOperationsDeps, namedTools } from '../operations/hidden-operations.ts'
import type { FlowCache } from './flow-cache.ts'
import type { FlowDefinitions } from './flow-definitions.ts'
import { createFlowId } from './flow-id.ts'
import { carriedInto, toFlow } from './flow-view.ts'

export interface FlowCreationDeps extends HiddenOperationsDeps {
  readonly store: Store
  readonly definitions: FlowDefinitions
  readonly parser: Pick<DefinitionParser, 'parseFromNetwork'>
  readonly cache: FlowCache
  readonly now: () => Date
  /**
   * Makes the id of a new flow of a definition; default: a new one at every call. Implemented by openRecording, so that
   * a replayed flow has its recorded id.
   */
  readonly newFlowId?: (stored: unknown) => Promise<string>
}

/** A flow to store: its thread, its creator, and for a rerun the flow that it repeats. */
export interface NewFlow extends Pick<FlowInsert, 'threadId' | 'userId' | 'parentFlowId' | 'input' | 'metadata' | 'attachments'> {
  readonly definition: FlowDefinitionInput | FlowDefinition
  /** As for createFlow of OrchestratorService. */
  readonly overNetwork?: boolean
  /** Default: a new one. Must not be in use. */
  readonly id?: string
  /** Results of the parent flow that the new flow takes over. */
  readonly carried?: readonly StepResult[]
}

export type StoreFlow = (flow: NewFlow) => Promise<OrchestrationFlow>

/** Parses a definition and stores a PENDING flow of it. Throws FLOW_INVALID. */
export function createFlowCreation({
  store,
  definitions,
  parser,
  operationsOf,
  pools,
  cache,
  now,
  newFlowId,
}: FlowCreationDeps): StoreFlow {
  const acceptFromNetwork = async (input: NewFlow['definition']) => {
    const parsed = parser.parseFromNetwork(input)
    const hidden = await findHiddenOperations({ operationsOf, pools }, parsed)
    if (hidden.length > 0) throw definitionError(hidden)
    const tools = await namedTools(operationsOf, parsed)
    const steps = input.steps.map((step, index) => (tools[index] ? { ...step, tools: tools[index] } : step))
    return definitions.accept(tools.some(Boolean) ? { ...input, steps } : input)
  }

  return async ({ threadId, userId, definition: input, overNetwork = false, ...given }) => {
    const { definition, stored } = overNetwork ? await acceptFromNetwork(input) : definitions.accept(input)
    const id = given.id ?? (newFlowId ? await newFlowId(stored) : createFlowId())
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
      attachments: given.attachments,
      simulated: false,
      carried: given.carried?.map((result) => carriedInto(id, result)),
    }
    definitions.keep(id, definition, stored)
    await store.journal.createFlow(flow)
    const pending = cache.remember(flow)
    return toFlow(pending, definition, flow.carried ?? [])
  }
}
