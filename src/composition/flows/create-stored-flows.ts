import { fromStoredJson, toStoredJson } from '../../domain/definition/json.ts'
import type { DefinitionParser } from '../../domain/definition/parser.ts'
import type { OpenAgentDirectory } from '../../orchestrator/agents/agent-directory.ts'
import { createFlowAccess, type FlowAccess } from '../../orchestrator/flows/flow-access.ts'
import { createFlowCache, type FlowCache } from '../../orchestrator/flows/flow-cache.ts'
import { createFlowCreation, type FlowCreationDeps, type StoreFlow } from '../../orchestrator/flows/flow-creation.ts'
import { createFlowDefinitions, type FlowDefinitions } from '../../orchestrator/flows/flow-definitions.ts'
import { createFlowLists, type FlowLists } from '../../orchestrator/flows/flow-lists.ts'
import type { OpenFunctionDirectory } from '../../orchestrator/operations/function-directory.ts'
import type { PermissionService } from '../../policies/policy.ts'
import type { Store } from '../../repositories/repository.ts'
import type { Models } from '../create-models.ts'

export interface CreateStoredFlowsDeps {
  readonly store: Store
  readonly permissions: PermissionService
  readonly parser: DefinitionParser
  readonly agents: Pick<OpenAgentDirectory, 'version'>
  readonly functions: Pick<OpenFunctionDirectory, 'version'>
  readonly models: Pick<Models, 'operationsOf' | 'pools'>
  readonly now: () => Date
  /** Whether this process runs flows; default true. */
  readonly takesFlows?: boolean
  /** Gives flows their ids where they are recorded or replayed. */
  readonly recording?: { readonly newFlowId?: FlowCreationDeps['newFlowId'] } | undefined
}

export interface StoredFlows {
  readonly access: FlowAccess
  readonly definitions: FlowDefinitions
  readonly lists: FlowLists
  readonly cache: FlowCache
  readonly storeFlow: StoreFlow
}

/** Builds access to stored flows: rights, lists, definitions and creation. */
export function createStoredFlows({
  store,
  permissions,
  parser,
  agents,
  functions,
  models,
  now,
  takesFlows,
  recording,
}: CreateStoredFlowsDeps): StoredFlows {
  const { flows } = store
  const access = createFlowAccess({ flows, permissions })
  const definitions = createFlowDefinitions({
    parse: parser.parse,
    namesVersion: () => agents.version() + functions.version(),
    toStoredJson,
    takesFlows,
    fromStoredJson: (json) => fromStoredJson(json, parser.parse),
  })
  const cache = createFlowCache()
  const storeFlow = createFlowCreation({
    store,
    definitions,
    parser,
    operationsOf: models.operationsOf,
    pools: models.pools,
    cache,
    now,
    newFlowId: recording?.newFlowId,
  })
  return { access, definitions, cache, storeFlow, lists: createFlowLists({ flows, access, definitions }) }
}
