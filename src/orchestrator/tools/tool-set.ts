import { findSuggestion, quoted, withSuggestion } from '../../domain/definition/suggestion.ts'
import type { ToolChoice, ToolDefinition } from '../../domain/execution/model-call.ts'
import { toCallerOperations } from '../../domain/tools/caller-operations.ts'
import { CALLER_PROVIDER, type CallerTool } from '../../domain/tools/caller-tools.ts'
import { HOSTED_PROVIDER } from '../../domain/tools/tool-fields.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ProviderOperation } from '../../providers/provider.ts'
import type { FindOperations } from '../operations/find-operation.ts'

/** The fields of a step that decide about its tools. */
export interface ToolFields {
  readonly id: string
  readonly tools?: readonly string[]
  readonly toolChoice?: string
  readonly approveTools?: boolean | readonly string[]
}

export interface ToolSetDeps {
  /** Implemented by createModels. */
  readonly operationsOf: FindOperations
}

/** A tool that a step offers to its model. */
export interface StepTool {
  /** Name for the model. */
  readonly name: string
  /** `<provider>/<operation>`. */
  readonly id: string
  readonly provider: string
  readonly operation: ProviderOperation
  readonly needsApproval: boolean
}

/** The tools of one step. A model has these and no others. */
export interface ToolSet {
  /** By their names for the model. */
  readonly tools: ReadonlyMap<string, StepTool>
  readonly definitions: readonly ToolDefinition[]
  /** Tools that the vendor runs itself. */
  readonly hosted: readonly string[]
  /** The choice of the first turn; `undefined`: the model decides. */
  readonly choice: ToolChoice | undefined
}

/** Splits `<provider>/<operation>` at the first slash, as names of models are. */
const splitName = (name: string): readonly [provider: string, operation: string] => {
  const slash = name.indexOf('/')
  return [name.slice(0, slash), name.slice(slash + 1)]
}

/** The providers of the tools that a step names, without those that the vendor of the model or the caller runs. */
export const toolProvidersOf = ({ tools = [] }: Pick<ToolFields, 'tools'>): ReadonlySet<string> =>
  new Set(tools.map((name) => splitName(name)[0]).filter((provider) => ![HOSTED_PROVIDER, CALLER_PROVIDER].includes(provider)))

/** Whether the caller of the flow runs a tool. */
export const isOfCaller = ({ provider }: Pick<StepTool, 'provider'>): boolean => provider === CALLER_PROVIDER

/**
 * Finds the operations that a step names. Rejects with FLOW_INVALID for an operation that its provider does not have
 * and for a name in `approveTools` or `toolChoice` without a tool, and as `Provider.operations` does.
 * `callerTools`: those of the definition.
 */
export async function resolveTools(
  { operationsOf }: ToolSetDeps,
  step: ToolFields,
  callerTools: readonly CallerTool[] = [],
  signal?: AbortSignal,
): Promise<ToolSet> {
  const names = [...new Set(step.tools ?? [])].map(splitName)
  const providers = [...toolProvidersOf(step)]
  const offered = new Map<string, readonly ProviderOperation[]>(
    await Promise.all(providers.map(async (id) => [id, await operationsOrThrow(operationsOf, id, step.id, signal)] as const)),
  )
  offered.set(CALLER_PROVIDER, toCallerOperations(callerTools))
  const found = new Map<string, Omit<StepTool, 'name'>>()
  for (const [provider, name] of names) {
    const operations = offered.get(provider)
    if (!operations) continue
    const chosen = name === '*' ? operations : operations.filter((operation) => operation.name === name)
    if (chosen.length === 0) throw unknownTool(step.id, provider, name, operations)
    for (const operation of chosen) {
      const id = `${provider}/${operation.name}`
      found.set(id, { id, provider, operation, needsApproval: operation.approval })
    }
  }
  const tools = new Map(withApproval(step, nameTools([...found.values()])).map((tool) => [tool.name, tool]))
  return {
    tools,
    definitions: [...tools.values()].map(toDefinition),
    hosted: names.flatMap(([provider, name]) => (provider === HOSTED_PROVIDER ? [name] : [])),
    choice: toChoice(step, tools),
  }
}

async function operationsOrThrow(operationsOf: FindOperations, id: string, stepId: string, signal?: AbortSignal) {
  const operations = await operationsOf(id, signal)
  if (operations) return operations
  throw new OrchestratorError(
    'FLOW_INVALID',
    `Expected the tools of step "${stepId}" to be functions, HTTP operations or MCP tools; provider ${quoted(id)} has none`,
    { details: { stepId, provider: id } },
  )
}

function unknownTool(
  stepId: string,
  provider: string,
  name: string,
  operations: readonly Pick<ProviderOperation, 'name'>[],
): OrchestratorError {
  const known = operations.map((operation) => operation.name)
  const suggestion = findSuggestion(name, known)
  const message = `Expected tool ${quoted(`${provider}/${name}`)} of step "${stepId}" to exist; provider ${quoted(provider)} has ${known.length === 0 ? 'no operation' : known.slice(0, 20).map(quoted).join(', ')}`
  return new OrchestratorError('FLOW_INVALID', withSuggestion(message, suggestion), {
    details: { stepId, provider, tool: name, ...(suggestion !== undefined && { suggestion }) },
  })
}

/**
 * Marks the tools that the step wants to be approved. A name without a tool is refused: a tool that was misspelt would
 * otherwise run unasked.
 */
function withApproval({ id, approveTools }: ToolFields, tools: readonly StepTool[]): readonly StepTool[] {
  if (approveTools === undefined || approveTools === false) return tools
  if (approveTools === true) return tools.map(approved)
  const unknown = approveTools.find((name) => !tools.some((tool) => matches(name, tool)))
  if (unknown !== undefined) throw noToolOfStep(id, 'approveTools', 'to name tools of the step', unknown, tools)
  return tools.map((tool) => (approveTools.some((name) => matches(name, tool)) ? approved(tool) : tool))
}

const approved = (tool: StepTool): StepTool => ({ ...tool, needsApproval: true })

const matches = (wanted: string, { id, name }: StepTool): boolean =>
  wanted === id || wanted === name || (wanted.endsWith('/*') && id.startsWith(wanted.slice(0, -1)))

function noToolOfStep(
  stepId: string,
  key: 'approveTools' | 'toolChoice',
  expected: string,
  found: string,
  tools: readonly StepTool[],
): OrchestratorError {
  const known = tools.map((tool) => tool.id)
  const suggestion = findSuggestion(found, [...known, ...tools.map(({ name }) => name)])
  const listed = known.length === 0 ? 'it has none' : known.map(quoted).join(', ')
  const message = `Expected ${key} of step "${stepId}" ${expected} (${listed}), found ${quoted(found)}`
  return new OrchestratorError('FLOW_INVALID', withSuggestion(message, suggestion), {
    details: { stepId, [key]: found, ...(suggestion !== undefined && { suggestion }) },
  })
}

const MAX_NAME_LENGTH = 64

/**
 * Names that every vendor accepts: that of the operation, with its provider in front where two tools would have the
 * same one. They depend on the order of the tools alone, so that a resumed conversation has the same names.
 */
function nameTools(tools: readonly Omit<StepTool, 'name'>[]): readonly StepTool[] {
  const plain = tools.map(({ operation }) => toSafeName(operation.name))
  const taken = new Set<string>()
  return tools.map((tool, position) => {
    const own = plain[position] ?? ''
    const isUnique = plain.filter((name) => name === own).length === 1
    const wanted = isUnique ? own : toSafeName(`${tool.provider}_${tool.operation.name}`)
    let name = wanted
    for (let number = 2; taken.has(name) || (name !== own && plain.includes(name)); number++) {
      const suffix = `_${number}`
      name = `${wanted.slice(0, MAX_NAME_LENGTH - suffix.length)}${suffix}`
    }
    taken.add(name)
    return { ...tool, name }
  })
}

const toSafeName = (name: string): string => name.replace(/[^A-Za-z0-9_-]/g, '_').slice(0, MAX_NAME_LENGTH)

const toDefinition = ({ name, operation: { description, input } }: StepTool): ToolDefinition => ({
  name,
  ...(description !== undefined && { description }),
  parameters: input,
})

function toChoice({ id, toolChoice }: ToolFields, tools: ReadonlyMap<string, StepTool>): ToolChoice | undefined {
  if (toolChoice === undefined || toolChoice === 'auto') return undefined
  if (toolChoice === 'required' || toolChoice === 'none') return toolChoice
  const offered = [...tools.values()]
  const tool = tools.get(toolChoice) ?? offered.find((candidate) => candidate.id === toolChoice)
  if (tool) return { name: tool.name }
  throw noToolOfStep(id, 'toolChoice', 'to be auto, required, none or one of its tools', toolChoice, offered)
}
