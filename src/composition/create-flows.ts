import { fromStoredJson, toStoredJson } from '../domain/definition/json.ts'
import type { DefinitionParser } from '../domain/definition/parser.ts'
import { createFlowAccess } from '../orchestrator/flows/flow-access.ts'
import { createFlowCache } from '../orchestrator/flows/flow-cache.ts'
import { createFlowDefinitions } from '../orchestrator/flows/flow-definitions.ts'
import { createFlowLists } from '../orchestrator/flows/flow-lists.ts'
import type { PermissionService } from '../policies/policy.ts'
import type { Store } from '../repositories/repository.ts'

export interface CreateFlowsDeps {
  readonly store: Store
  readonly permissions: PermissionService
  readonly parser: DefinitionParser
}

/** Stored flows: who may reach them, their lists, their definitions, and those that were just created. */
export function createFlows({ store: { flows }, permissions, parser }: CreateFlowsDeps) {
  const access = createFlowAccess({ flows, permissions })
  const definitions = createFlowDefinitions({
    parse: parser.parse,
    toStoredJson,
    fromStoredJson: (json) => fromStoredJson(json, parser.parse),
  })
  return { access, definitions, lists: createFlowLists({ flows, access, definitions }), cache: createFlowCache() }
}
