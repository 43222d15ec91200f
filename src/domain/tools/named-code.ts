import type { DefinitionProblem } from '../definition/flow-definition.ts'
import {
  type FunctionRegistry,
  type NamedFunction,
  namedFunctionSchema,
  type ResolvedFunction,
  resolveFunction,
} from './named-functions.ts'

/** Keys of a step and of a definition whose code may be named. */
export const STEP_CODE_KEYS = ['prompt', 'system', 'condition'] as const
export type StepCode = Partial<Record<(typeof STEP_CODE_KEYS)[number], ResolvedFunction>>
export const DEFINITION_CODE_KEYS = ['onStepComplete', 'onFlowComplete', 'onError'] as const

/** The code of every name among the given keys, by key. Adds a problem for each name that is not registered. */
export function resolveCode<Key extends string>(
  given: Readonly<Partial<Record<Key, unknown>>>,
  keys: readonly Key[],
  path: string,
  registry: FunctionRegistry | undefined,
  problems: DefinitionProblem[],
): Partial<Record<Key, ResolvedFunction>> {
  const found: Partial<Record<Key, ResolvedFunction>> = {}
  for (const key of keys) {
    const named = namedFunctionSchema.safeParse(given[key])
    if (!named.success) continue
    const code = resolveFunction(named.data, registry)
    if (typeof code === 'function') found[key] = code
    else {
      const { problem, suggestion } = code
      const missing: DefinitionProblem = {
        path: `${path}${key}`,
        message: problem,
        ...(suggestion !== undefined && { suggestion }),
      }
      missingFunctions.add(missing)
      problems.push(missing)
    }
  }
  return found
}

const missingFunctions = new WeakSet<DefinitionProblem>()

/** Whether a problem of the parser is that a function is not registered. */
export const isMissingFunction = (problem: DefinitionProblem): boolean => missingFunctions.has(problem)

/** Code that was given itself, or the code of the name that was given. */
export function toCodeOf<Code extends string | ((...given: never[]) => unknown)>(
  given: Code | NamedFunction,
  resolved: ResolvedFunction | undefined,
): Code | ResolvedFunction | undefined {
  return typeof given === 'object' ? resolved : given
}
