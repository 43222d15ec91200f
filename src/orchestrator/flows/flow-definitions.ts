import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { DefinitionProblem, FlowDefinition, FlowStep } from '../../domain/definition/flow-definition.ts'
import { isMissingFunction } from '../../domain/tools/named-code.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { StoredDefinition, StoredFlow } from '../../repositories/repository.ts'

export interface FlowDefinitionDeps {
  /** Throws FLOW_INVALID. Implemented by createParser. */
  readonly parse: (input: unknown) => FlowDefinition
  /** Rises when the agents or functions that `parse` knows change; default: they never do. */
  readonly namesVersion?: () => number
  /** Implemented by toStoredJson of domain/definition/json.ts. */
  readonly toStoredJson: (definition: FlowDefinition) => { readonly json: string; readonly isData: boolean }
  /** Implemented by fromStoredJson of domain/definition/json.ts. */
  readonly fromStoredJson: (json: string) => FlowDefinition
  /** Whether this process runs flows; default true. */
  readonly takesFlows?: boolean
}

interface Accepted {
  readonly definition: FlowDefinition
  readonly stored: StoredDefinition
}

/** Parsed definitions of this process: one object per content, however many flows share it. */
export function createFlowDefinitions({
  parse,
  namesVersion = () => 0,
  toStoredJson,
  fromStoredJson,
  takesFlows = true,
}: FlowDefinitionDeps) {
  const byHash = new LRUCache<string, FlowDefinition>({ max: 1_000 })
  const accepted = new LRUCache<string, Accepted>({ max: 1_000, maxSize: 20_000_000, sizeCalculation: (_, text) => text.length })
  let acceptedVersion = namesVersion()
  // Functions cannot be stored, so these definitions are kept until this process ends or 10,000 newer ones replace
  // them.
  const ofFlow = new LRUCache<string, FlowDefinition>({ max: 10_000 })
  const registered = new Map<string, FlowDefinition>()
  /** Requirements of started flows whose functions only this process has, because they were not registered. */
  const onlyHere = new Set<string>()

  /** A definition as parsed and as stored. The same text as before is not parsed again. */
  function accept(input: unknown): Accepted {
    if (acceptedVersion !== namesVersion()) {
      accepted.clear()
      acceptedVersion = namesVersion()
    }
    const text = dataText(input)
    const known = text === undefined ? undefined : accepted.get(text)
    if (known) return known
    const definition = parse(input)
    const { json, isData } = toStoredJson(definition)
    const hash = createHash('sha256').update(json).digest('hex')
    const entry = { definition: byHash.get(hash) ?? definition, stored: { hash, json, isData, version: definition.version } }
    if (!isData) return { ...entry, definition }
    byHash.set(hash, entry.definition)
    if (text !== undefined) accepted.set(text, entry)
    return entry
  }

  /** A stored definition may name functions that only other processes have registered. */
  function rebuildData({
    id,
    name,
    definition: { json, version },
  }: Pick<StoredFlow, 'id' | 'name' | 'definition'>): FlowDefinition {
    try {
      return fromStoredJson(json)
    } catch (error) {
      const missing = missingFunctionsOf(error)
      if (missing.length === 0) throw error
      throw new OrchestratorError(
        'FLOW_NOT_REBUILDABLE',
        `Flow "${name}" names functions that this process has not registered: ${missing.join('; ')}`,
        { details: { flowId: id, name, version }, cause: error },
      )
    }
  }

  return {
    accept,
    /** Keeps a definition with functions for the flow that was created with it. */
    keep(flowId: string, definition: FlowDefinition, stored: StoredDefinition): void {
      if (!stored.isData) ofFlow.set(flowId, definition)
    },
    /** Registers a definition with functions by its name and version. */
    register(input: unknown): FlowDefinition {
      const definition = parse(input)
      registered.set(toRequirement(definition.name, definition.version), definition)
      return definition
    },
    /**
     * What a process must have registered to run the flow: nothing for data, `name@version` for a registered
     * definition, and otherwise the flow itself, which only this process can run. Throws FLOW_NOT_REBUILDABLE if it
     * runs no flows. Called when a flow is started.
     */
    requirementOf({ id, name, definition }: Pick<StoredFlow, 'id' | 'name' | 'definition'>): string | undefined {
      if (definition.isData) return undefined
      const requirement = toRequirement(name, definition.version)
      if (registered.has(requirement)) return requirement
      if (!takesFlows) {
        const message = `Flow "${name}" was defined with functions that are not registered, and this process runs no flows: register the definition in it and in the workers`
        throw new OrchestratorError('FLOW_NOT_REBUILDABLE', message, {
          details: { flowId: id, name, version: definition.version },
        })
      }
      onlyHere.add(toOwnRequirement(id))
      return toOwnRequirement(id)
    },
    /** Called when a flow no longer runs. */
    forgetRequirement(flowId: string): void {
      if (onlyHere.size > 0) onlyHere.delete(toOwnRequirement(flowId))
    },
    /** All requirements that this process meets. */
    requirements: (): readonly string[] => [...registered.keys(), ...onlyHere],
    /**
     * Ids of steps that differ from those stored with the flow: code may have been registered again under the same name
     * and version.
     */
    changedSteps(flow: { readonly definition: StoredDefinition }, definition: FlowDefinition): ReadonlySet<string> {
      const { json } = accept(definition).stored
      if (json === flow.definition.json) return new Set()
      const before = new Set(stepTexts(flow.definition.json))
      const now = stepTexts(json)
      return new Set(definition.steps.filter((_, index) => !before.has(now[index] ?? '')).map(({ id }) => id))
    },
    /** The runnable definition of a stored flow; throws FLOW_NOT_REBUILDABLE. */
    rebuild(flow: { readonly id: string; readonly name: string; readonly definition: StoredDefinition }): FlowDefinition {
      const { hash, isData, version } = flow.definition
      if (isData) {
        const definition = byHash.get(hash) ?? rebuildData(flow)
        byHash.set(hash, definition)
        return definition
      }
      const known = ofFlow.get(flow.id) ?? registered.get(toRequirement(flow.name, version))
      if (known) return known
      throw new OrchestratorError(
        'FLOW_NOT_REBUILDABLE',
        `Flow "${flow.name}"${version ? ` version ${version}` : ''} was defined with functions that this process does not have`,
        { details: { flowId: flow.id, name: flow.name, version } },
      )
    },
    /** For reading only: an unknown definition is returned as it was stored, without its functions. */
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

/** Problems of a FLOW_INVALID that concern only functions that are not registered; empty for every other error. */
function missingFunctionsOf(error: unknown): readonly string[] {
  if (!OrchestratorError.is(error) || error.code !== 'FLOW_INVALID' || !Array.isArray(error.details.problems)) return []
  const problems: readonly DefinitionProblem[] = error.details.problems
  return problems.every(isMissingFunction) ? problems.map(({ path, message }) => `${path}: ${message}`) : []
}

const toRequirement = (name: string, version = ''): string => `${name}@${version}`
const toOwnRequirement = (flowId: string): string => `flow:${flowId}`

/** The steps of a stored definition, each as JSON text that contains its id. */
function stepTexts(json: string): readonly string[] {
  const definition: unknown = JSON.parse(json)
  if (typeof definition !== 'object' || definition === null || !('steps' in definition)) return []
  return Array.isArray(definition.steps) ? definition.steps.map((step) => JSON.stringify(step)) : []
}

/** The input as JSON text; `undefined` if JSON would lose something: functions, class instances, NaN. */
function dataText(input: unknown): string | undefined {
  try {
    return isPlainData(input, 0) ? JSON.stringify(input) : undefined
  } catch {
    return undefined
  }
}

const MAX_DEPTH = 50

function isPlainData(value: unknown, depth: number): boolean {
  if (value === null || value === undefined || typeof value === 'string' || typeof value === 'boolean') return true
  // JSON writes NaN and Infinity as null.
  if (typeof value === 'number') return Number.isFinite(value)
  if (typeof value !== 'object' || depth > MAX_DEPTH) return false
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== Array.prototype && prototype !== null) return false
  for (const key in value) if (!isPlainData(Reflect.get(value, key), depth + 1)) return false
  return true
}

/** The step of a flow with its index in the definition. Throws STEP_NOT_FOUND. */
export function getStep(
  flowId: string,
  { name, steps }: FlowDefinition,
  stepId: string,
): { readonly step: FlowStep; readonly index: number } {
  const index = steps.findIndex((step) => step.id === stepId)
  const step = steps[index]
  if (step) return { step, index }
  const known = steps.map(({ id }) => `"${id}"`).join(', ')
  throw new OrchestratorError('STEP_NOT_FOUND', `Flow "${name}" has no step "${stepId}"; it has ${known}`, {
    details: { flowId, stepId },
  })
}
