import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { FlowDefinition } from '../domain/flow-definition.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { StoredDefinition } from '../repositories/repository.ts'

export interface FlowDefinitionPorts {
  readonly parse: (input: unknown) => FlowDefinition
  readonly toStoredJson: (definition: FlowDefinition) => { readonly json: string; readonly isData: boolean }
  readonly fromStoredJson: (json: string) => FlowDefinition
}

/** Parsed definitions of this process: one object per content, however many flows share it. */
export function createFlowDefinitions({ parse, toStoredJson, fromStoredJson }: FlowDefinitionPorts) {
  const byHash = new LRUCache<string, FlowDefinition>({ max: 1_000 })
  const storedForms = new LRUCache<string, StoredDefinition>({ max: 1_000 })
  // Functions cannot be stored: these definitions live as long as this process, or until so many newer ones came.
  const ofFlow = new LRUCache<string, FlowDefinition>({ max: 10_000 })
  const registered = new Map<string, FlowDefinition>()

  /** A definition as parsed, and as it is stored. */
  function accept(input: unknown): { readonly definition: FlowDefinition; readonly stored: StoredDefinition } {
    const definition = parse(input)
    const { json, isData } = toStoredJson(definition)
    const hash = createHash('sha256').update(json).digest('hex')
    if (!isData) return { definition, stored: { hash, json, isData, version: definition.version } }
    const known = byHash.get(hash)
    const stored = storedForms.get(hash) ?? { hash, json, isData, version: definition.version }
    if (!known) byHash.set(hash, definition)
    storedForms.set(hash, stored)
    return { definition: known ?? definition, stored }
  }

  return {
    accept,
    /** Keeps a definition with functions for the flow that was created with it. */
    keep(flowId: string, definition: FlowDefinition, stored: StoredDefinition): void {
      if (!stored.isData) ofFlow.set(flowId, definition)
    },
    /** Makes a definition with functions known to this process by name and version. */
    register(input: unknown): FlowDefinition {
      const definition = parse(input)
      registered.set(nameAndVersion(definition.name, definition.version), definition)
      return definition
    },
    /** The runnable definition of a stored flow; throws FLOW_NOT_REBUILDABLE. */
    rebuild(flow: { readonly id: string; readonly name: string; readonly definition: StoredDefinition }): FlowDefinition {
      const { hash, json, isData, version } = flow.definition
      if (isData) {
        const definition = byHash.get(hash) ?? fromStoredJson(json)
        byHash.set(hash, definition)
        return definition
      }
      const known = ofFlow.get(flow.id) ?? registered.get(nameAndVersion(flow.name, version))
      if (known) return known
      throw new OrchestratorError(
        'FLOW_NOT_REBUILDABLE',
        `Flow "${flow.name}"${version ? ` version ${version}` : ''} was defined with functions that this process does not have`,
        { details: { flowId: flow.id, name: flow.name, version } },
      )
    },
    /** For reading only: functions of an unknown definition stand as they were stored. */
    describe(flow: { readonly id: string; readonly name: string; readonly definition: StoredDefinition }): FlowDefinition {
      try {
        return this.rebuild(flow)
      } catch (error) {
        if (OrchestratorError.is(error) && error.code === 'FLOW_NOT_REBUILDABLE') return JSON.parse(flow.definition.json)
        throw error
      }
    },
  }
}

export type FlowDefinitions = ReturnType<typeof createFlowDefinitions>

const nameAndVersion = (name: string, version: string | undefined): string => JSON.stringify([name, version ?? null])
