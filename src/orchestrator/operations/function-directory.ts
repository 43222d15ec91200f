import { quoted } from '../../domain/definition/suggestion.ts'
import type { OperationFunction, RegisteredFunction } from '../../domain/tools/functions.ts'
import type { FunctionRegistry } from '../../domain/tools/named-functions.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** What is known about a function that is given without its facts. */
export interface FunctionOptions extends Omit<OperationFunction, 'run' | 'input'> {
  /** Schema of the arguments, an object; a zod schema or a JSON Schema. Default: any object. */
  readonly schema?: OperationFunction['input']
}

/** The functions of this process: those of the configuration, and those that code registers. */
export interface FunctionDirectory {
  /**
   * Adds a function, under the rules of `functions` in the configuration. Definitions can name it from then on. Every
   * process that runs their flows needs it. Throws FUNCTION_EXISTS, and CONFIG_INVALID for a name, a fact or a schema
   * that is not valid.
   *
   * ```ts
   * polyphony.functions.register('double', ({ n }) => ({ doubled: 2 * n }), { idempotent: true, expose: 'api' })
   * ```
   */
  register(name: string, run: OperationFunction['run'], options?: FunctionOptions): void
  /** Adds a function with its facts, as `defineFunction` returns it. */
  register(name: string, operation: OperationFunction): void
  /** Removes a function. Steps that name it fail from then on. Returns whether there was one. */
  unregister(name: string): boolean
  has(name: string): boolean
  /** Names of all functions, sorted. */
  list(): readonly string[]
}

/** The directory with what the parser and the provider of functions read of it. */
export interface OpenFunctionDirectory extends FunctionDirectory {
  /** A live view: a definition that is parsed later sees the functions of that time. */
  readonly byName: FunctionRegistry
  /** Rises with every change, so that parsed definitions are not kept beyond it. */
  readonly version: () => number
}

export interface FunctionDirectoryDeps {
  /** Functions that exist from the start, by name. */
  readonly initial: FunctionRegistry
  /** Throws CONFIG_INVALID for a name, a fact or a schema that is not valid. Implemented by assertFunction. */
  readonly assertValid: (name: string, operation: OperationFunction) => void
  /** Whether a provider of the configuration has the id of functions, so that none can be registered. */
  readonly isReplaced: boolean
}

/** Keeps the functions of one Polyphony in memory. */
export function createFunctionDirectory({ initial, assertValid, isReplaced }: FunctionDirectoryDeps): OpenFunctionDirectory {
  const byName: Record<string, RegisteredFunction> = { ...initial }
  let version = 0
  return {
    byName,
    version: () => version,
    register(name: string, given: OperationFunction | OperationFunction['run'], options: FunctionOptions = {}) {
      if (isReplaced) {
        const expected = 'expected no provider "function" in the configuration, whose operations stand in for functions'
        throw new OrchestratorError('CONFIG_INVALID', `functions.${name}: ${expected}`, { details: { function: name } })
      }
      if (Object.hasOwn(byName, name)) {
        const message = `A function ${quoted(name)} is registered already`
        throw new OrchestratorError('FUNCTION_EXISTS', message, { details: { function: name } })
      }
      const { schema, ...facts } = options
      const operation = typeof given === 'function' ? { ...facts, ...(schema && { input: schema }), run: given } : given
      assertValid(name, operation)
      byName[name] = operation
      version++
    },
    unregister(name) {
      if (!Object.hasOwn(byName, name)) return false
      delete byName[name]
      version++
      return true
    },
    has: (name) => Object.hasOwn(byName, name),
    list: () => Object.keys(byName).sort(),
  }
}
