import * as z from 'zod'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { findSuggestion } from '../definition/suggestion.ts'
import type { RegisteredFunction } from './functions.ts'

/** A function of the registry, named in place of code: `condition: { function: 'isUrgent' }`. */
export const namedFunctionSchema = z.strictObject({ function: z.string().min(1).max(64) })
export type NamedFunction = z.output<typeof namedFunctionSchema>

/** Registered functions by name. */
export type FunctionRegistry = Readonly<Record<string, RegisteredFunction>>

/** What a function of a user returns, which is checked where it is used. */
type OwnData = ReturnType<typeof JSON.parse>

/** The code of a name. It is called as code in its place would be. */
export type ResolvedFunction = (argument: unknown) => OwnData

// Beside the functions, so that a definition is stored with names in place of code.
const names = new WeakMap<object, string>()

/** The name under which the code of a definition was registered; `undefined` for code that was given itself. */
export const registeredNameOf = (code: unknown): string | undefined => (typeof code === 'function' ? names.get(code) : undefined)

/**
 * The functions that a definition from the network may name in place of code: they are called without a journal row, as
 * often as their value is needed, so that they must be idempotent as well as exposed.
 */
export const exposedFunctions = (registry: FunctionRegistry): FunctionRegistry =>
  Object.fromEntries(
    Object.entries(registry).filter(
      ([, registered]) => typeof registered === 'object' && registered.expose === 'api' && registered.idempotent === true,
    ),
  )

/** The words about a name that no function has, or none that may be named. */
export const noFunction = (name: string): string => `no function "${name}" is registered`

/** Returns the code of a registered function, or the problem with its name. */
export function resolveFunction(
  { function: name }: NamedFunction,
  registry: FunctionRegistry | undefined,
): ResolvedFunction | { readonly problem: string; readonly suggestion: string | undefined } {
  const registered = registry && Object.hasOwn(registry, name) ? registry[name] : undefined
  if (registry && !registered) {
    return { problem: noFunction(name), suggestion: findSuggestion(name, Object.keys(registry)) }
  }
  const code: ResolvedFunction = registered ? toCode(registered) : () => missing(name)
  names.set(code, name)
  return code
}

/** An operation gets the context of the step as its input; its schema is for arguments and is not applied. */
function toCode(registered: RegisteredFunction): ResolvedFunction {
  if (typeof registered === 'function') return (argument) => registered(Object(argument))
  return (argument) => {
    const { userId = '', flowId = '', stepId = '', iteration = 1, metadata = {} } = { ...contextOf(argument) }
    const idempotencyKey = `${flowId}/${stepId}#${iteration}`
    const { signal } = new AbortController()
    return registered.run(argument, { userId, flowId, stepId, idempotencyKey, metadata, signal, addFile: refuseFile })
  }
}

/** A prompt, a condition and a callback have no result that a file could be a part of. */
function refuseFile(): never {
  throw new OrchestratorError('OUTPUT_INVALID', 'addFile: expected a function that a step runs or a model calls')
}

interface KnownContext {
  readonly userId?: string
  readonly flowId?: string
  readonly stepId?: string
  readonly iteration?: number
  readonly metadata?: Readonly<Record<string, unknown>>
}

// Only these members are read: an output that is read counts as a part of the prompt.
const contextOf = (argument: unknown): KnownContext => {
  if (typeof argument !== 'object' || argument === null) return {}
  const { userId, flowId, stepId, iteration, metadata }: KnownContext = argument
  return {
    ...(userId !== undefined && { userId }),
    ...(flowId !== undefined && { flowId }),
    ...(stepId !== undefined && { stepId }),
    ...(iteration !== undefined && { iteration }),
    ...(metadata !== undefined && { metadata }),
  }
}

function missing(name: string): never {
  throw new OrchestratorError('FLOW_NOT_REBUILDABLE', `no function "${name}" is registered in this process`, {
    details: { function: name },
  })
}
