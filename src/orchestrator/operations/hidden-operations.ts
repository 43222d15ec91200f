import type { PoolDirectory } from '../../domain/definition/call/pools.ts'
import type { DefinitionProblem, FlowDefinition, FlowStep } from '../../domain/definition/flow-definition.ts'
import { definitionError } from '../../domain/definition/problems.ts'
import { quoted } from '../../domain/definition/suggestion.ts'
import { CALLER_PROVIDER } from '../../domain/tools/caller-tools.ts'
import { FUNCTION_PROVIDER } from '../../domain/tools/functions.ts'
import { DEFINITION_CODE_KEYS, STEP_CODE_KEYS } from '../../domain/tools/named-code.ts'
import { noFunction, registeredNameOf } from '../../domain/tools/named-functions.ts'
import { HOSTED_PROVIDER, isRunStep } from '../../domain/tools/tool-fields.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ProviderOperation } from '../../providers/provider.ts'
import type { FindOperations } from './find-operation.ts'

/** Tools of vendors and of the caller, which run nothing of the operator. */
const FOREIGN: readonly string[] = [HOSTED_PROVIDER, CALLER_PROVIDER]
const isForeign = (tool: string): boolean => FOREIGN.includes(tool.slice(0, tool.indexOf('/')))

export interface HiddenOperationsDeps {
  /** Implemented by createModels. */
  readonly operationsOf: FindOperations
  readonly pools: Pick<PoolDirectory, 'membersOf'>
}

/**
 * Finds the operations that a definition from the network may not name: those that the operator has not exposed. An
 * operation that is not exposed is reported in the same words as one that does not exist.
 */
export async function findHiddenOperations(
  { operationsOf, pools }: HiddenOperationsDeps,
  definition: FlowDefinition,
): Promise<readonly DefinitionProblem[]> {
  const listed = new Map<string, Promise<readonly ProviderOperation[]>>()
  const list = (provider: string) => {
    const known = listed.get(provider) ?? listOrNone(operationsOf, provider)
    listed.set(provider, known)
    return known
  }
  const problems: DefinitionProblem[] = []
  const named = [
    ...namedCode(definition, DEFINITION_CODE_KEYS),
    ...definition.steps.flatMap((step, index) =>
      namedOperations(step, pools).map((operation) => ({ ...operation, path: `steps[${index}].${operation.path}` })),
    ),
  ]
  for (const { path, provider, operation, isCode, name = `${provider}/${operation}` } of named) {
    const operations = await list(provider)
    // A function in place of code is called without a journal row, as often as its value is needed.
    const isExposed = ({ expose, idempotent }: ProviderOperation) => expose === 'api' && (idempotent || !isCode)
    const found = operation === '*' ? operations : operations.filter(({ name }) => name === operation)
    if (found.length === 0 || !found.every(isExposed)) {
      const message = isCode ? noFunction(operation) : `no operation ${quoted(name)}`
      if (!problems.some((known) => known.path === path)) problems.push({ path, message })
    }
  }
  return problems
}

/** Tools of one step at most, as in the schema of definitions. */
const MAX_TOOLS = 128

/**
 * The tools of every step that names some with `<provider>/*`, with the names for which that stands now, all of which
 * are exposed: one that the server adds later, or that the operator has not exposed, would otherwise be called
 * unchecked. `undefined` for other steps. Throws FLOW_INVALID for a step that would have too many tools.
 */
export const namedTools = (
  operationsOf: FindOperations,
  { steps }: FlowDefinition,
): Promise<readonly (readonly string[] | undefined)[]> =>
  Promise.all(
    steps.map(async ({ tools: given }, index) => {
      if (!given?.some(isPattern)) return undefined
      const names = await Promise.all(
        given.map(async (tool) => {
          if (!isPattern(tool)) return [tool]
          const provider = tool.slice(0, -PATTERN_END.length)
          return (await listOrNone(operationsOf, provider)).map(({ name }) => `${provider}/${name}`)
        }),
      )
      const tools = [...new Set(names.flat())]
      if (tools.length <= MAX_TOOLS) return tools
      const message = `expected at most ${MAX_TOOLS} tools, found ${tools.length} with those of ${given.filter(isPattern).join(', ')}`
      throw definitionError([{ path: `steps[${index}].tools`, message }])
    }),
  )

const PATTERN_END = '/*'
const isPattern = (tool: string): boolean => tool.endsWith(PATTERN_END) && !isForeign(tool)

interface NamedOperation {
  readonly path: string
  readonly provider: string
  readonly operation: string
  /** What the definition says, if that is the pool of the operation. */
  readonly name?: string
  /** Whether the function stands in place of code. */
  readonly isCode?: true
}

const namedCode = <Key extends string>(
  given: Readonly<Partial<Record<Key, unknown>>>,
  keys: readonly Key[],
): readonly NamedOperation[] =>
  keys.flatMap((path) => {
    const operation = registeredNameOf(given[path])
    return operation === undefined ? [] : [{ path, provider: FUNCTION_PROVIDER, operation, isCode: true }]
  })

function namedOperations(step: FlowStep, { membersOf }: HiddenOperationsDeps['pools']): readonly NamedOperation[] {
  const tools = (step.tools ?? []).flatMap((tool, index) => {
    const slash = tool.indexOf('/')
    const provider = tool.slice(0, slash)
    return FOREIGN.includes(provider) ? [] : [{ path: `tools[${index}]`, provider, operation: tool.slice(slash + 1) }]
  })
  // Every member of a pool may be asked.
  const targets = isRunStep(step) ? membersOf(step) : []
  const own = targets.map(({ provider, model }) => ({
    path: 'model',
    provider,
    operation: model,
    name: `${step.provider}/${step.model}`,
  }))
  return [...own, ...tools, ...namedCode(step, STEP_CODE_KEYS)]
}

/** The operations of a provider; none of one that is not configured, is not active, or answers with models. */
async function listOrNone(operationsOf: FindOperations, provider: string): Promise<readonly ProviderOperation[]> {
  try {
    return (await operationsOf(provider)) ?? []
  } catch (error) {
    if (OrchestratorError.is(error) && UNUSABLE.has(error.code)) return []
    throw error
  }
}

const UNUSABLE: ReadonlySet<string> = new Set(['PROVIDER_NOT_CONFIGURED', 'PROVIDER_INACTIVE'])
