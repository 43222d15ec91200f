import { untilAborted } from '../../async/until-aborted.ts'
import { findSuggestion, withSuggestion } from '../../domain/definition/suggestion.ts'
import { withCallFacts } from '../../domain/execution/call-facts.ts'
import type { GeneratedFile, ModelResponse } from '../../domain/execution/model-call.ts'
import { NO_TOKENS } from '../../domain/execution/usage.ts'
import type { CallOrigin } from '../../domain/tools/call-origin.ts'
import {
  FUNCTION_PROVIDER,
  type FunctionContext,
  type OperationFunction,
  type RegisteredFunction,
} from '../../domain/tools/functions.ts'
import { ANY_OBJECT, type OperationSchema, toOperationSchema } from '../../domain/tools/operation-schema.ts'
import { OperationError } from '../../errors/operation-error.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Provider, ProviderOperation } from '../provider.ts'

/** Maximum characters of a result as JSON. */
const MAX_RESULT_LENGTH = 10_000_000

interface Registered {
  readonly definition: OperationFunction
  readonly operation: ProviderOperation
  readonly input: OperationSchema
  readonly output: OperationSchema | undefined
}

/**
 * The provider of the registered functions, a live view of them. A call runs the function in this process. Throws
 * CONFIG_INVALID for a schema that cannot be checked.
 */
export function createFunctionProvider(functions: Readonly<Record<string, RegisteredFunction>>): Provider {
  const known = new WeakMap<OperationFunction, Registered>()
  const find = (name: string): Registered | undefined => {
    const definition = Object.hasOwn(functions, name) ? functions[name] : undefined
    // A function without schemas stands in for code, and is no operation.
    if (typeof definition !== 'object') return undefined
    const registered = known.get(definition)
    if (registered?.operation.name === name) return registered
    const added = register(name, definition)
    known.set(definition, added)
    return added
  }
  const all = (): readonly ProviderOperation[] => Object.keys(functions).flatMap((name) => find(name)?.operation ?? [])
  all()
  return {
    id: FUNCTION_PROVIDER,
    kind: FUNCTION_PROVIDER,
    vendor: FUNCTION_PROVIDER,
    inProcess: true,
    simulated: false,
    missing: () => (all().length > 0 ? undefined : 'no functions are registered'),
    operations: async () => all(),
    async generate({ model, arguments: given }, { signal, origin }) {
      signal.throwIfAborted()
      const found = find(model)
      if (!found)
        throw unknownFunction(
          model,
          all().map(({ name }) => name),
        )
      if (!given || !origin) throw notRun(model)
      // A function uses no tokens, also where its call fails or is aborted.
      withCallFacts(signal, { usage: NO_TOKENS, generated: false })
      return await untilAborted(run(model, found, given, origin, signal), signal)
    },
  }
}

/** Throws CONFIG_INVALID for a schema that cannot be checked. */
export const assertFunctionSchemas = (name: string, definition: OperationFunction): void => void register(name, definition)

function register(name: string, definition: OperationFunction): Registered {
  const input = toSchema(name, 'input', definition.input ?? ANY_OBJECT)
  const output = definition.output === undefined ? undefined : toSchema(name, 'output', definition.output)
  const { description, idempotent = false, approval = false, expose = 'code' } = definition
  const operation: ProviderOperation = {
    name,
    ...(description !== undefined && { description }),
    input: input.json,
    ...(output && { output: output.json }),
    idempotent,
    approval,
    expose,
    check: (given) => input.check(given, 'arguments'),
  }
  return { definition, operation, input, output }
}

function toSchema(name: string, field: 'input' | 'output', given: Parameters<typeof toOperationSchema>[0]): OperationSchema {
  try {
    return toOperationSchema(given)
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error)
    throw new OrchestratorError('CONFIG_INVALID', `functions.${name}.${field}: expected a schema that can be checked: ${found}`, {
      details: { function: name, field },
      cause: error,
    })
  }
}

async function run(
  name: string,
  { definition, input, output }: Registered,
  given: unknown,
  origin: CallOrigin,
  signal: AbortSignal,
): Promise<ModelResponse> {
  const read = await input.parse(given, 'arguments')
  if ('problems' in read) {
    throw new OrchestratorError('INPUT_INVALID', `Function "${name}": ${read.problems.join('; ')}`, {
      details: { function: name, problems: read.problems },
    })
  }
  const files: GeneratedFile[] = []
  const addFile = (file: GeneratedFile) => void files.push(checkedFile(name, file))
  const { text, value } = toResult(name, await call(name, definition, read.value, toContext(origin, signal, addFile)))
  const problems = output?.check(value, 'result') ?? []
  if (problems.length > 0) {
    throw unusable(name, problems.join('; '), { problems })
  }
  return { text, value, ...(files.length > 0 && { files }), finishReason: 'stop', model: name, usage: NO_TOKENS, notes: [] }
}

async function call(name: string, definition: OperationFunction, input: unknown, context: FunctionContext): Promise<unknown> {
  try {
    return await definition.run(input, context)
  } catch (error) {
    throw withCallFacts(toFailure(name, definition, error), { usage: NO_TOKENS, generated: false })
  }
}

/** Metadata is read only if the function reads it: a result that is made from it may go to fewer models. */
function toContext(origin: CallOrigin, signal: AbortSignal, addFile: FunctionContext['addFile']): FunctionContext {
  const { userId, flowId, stepId, idempotencyKey } = origin
  return {
    userId,
    flowId,
    stepId,
    idempotencyKey,
    get metadata() {
      return origin.metadata
    },
    signal,
    addFile,
  }
}

/** A copy of a file of a function, whose bytes the function may change afterwards. */
function checkedFile(name: string, { name: fileName, mediaType, data }: GeneratedFile): GeneratedFile {
  if (!(data instanceof Uint8Array) || typeof mediaType !== 'string') {
    throw unusable(name, 'expected a file with data (Uint8Array) and mediaType', {})
  }
  return { ...(fileName !== undefined && { name: fileName }), mediaType, data: Uint8Array.from(data) }
}

/** Errors of unknown origin may hold secrets and texts of users, so only their name is shown. */
function toFailure(name: string, { idempotent = false }: OperationFunction, error: unknown): OrchestratorError {
  if (OrchestratorError.is(error)) return error
  const shown = OperationError.is(error) ? error : undefined
  const words = shown?.message ?? (error instanceof Error ? error.name : typeof error)
  return new OrchestratorError('STEP_FAILED', `Function "${name}" ${shown ? 'failed' : 'threw'}: ${words}`, {
    details: { function: name },
    cause: error,
    retryable: idempotent && (shown?.retryable ?? true),
  })
}

/** The result as it is stored, so that a resumed flow sees the same as one that was not interrupted. */
function toResult(name: string, returned: unknown): { readonly text: string; readonly value: unknown } {
  if (returned === undefined) return { text: '', value: null }
  const json = toJson(name, returned)
  if (json.length > MAX_RESULT_LENGTH) {
    throw unusable(name, `expected at most ${MAX_RESULT_LENGTH} characters of JSON, found ${json.length}`, {
      max: MAX_RESULT_LENGTH,
    })
  }
  return typeof returned === 'string' ? { text: returned, value: returned } : { text: json, value: JSON.parse(json) }
}

function toJson(name: string, returned: unknown): string {
  try {
    const json: string | undefined = JSON.stringify(returned)
    if (json !== undefined) return json
  } catch (error) {
    throw unusable(name, `expected a JSON value, found one that JSON cannot express (${nameOf(error)})`, {})
  }
  throw unusable(name, `expected a JSON value, found a ${typeof returned}`, {})
}

const nameOf = (error: unknown): string => (error instanceof Error ? error.name : typeof error)

const unusable = (name: string, problem: string, details: Readonly<Record<string, unknown>>): OrchestratorError =>
  withCallFacts(
    new OrchestratorError('OUTPUT_INVALID', `Function "${name}" returned an unusable value: ${problem}`, {
      details: { function: name, ...details },
    }),
    { usage: NO_TOKENS, generated: false },
  )

function unknownFunction(name: string, known: Iterable<string>): OrchestratorError {
  const names = [...known]
  const suggestion = findSuggestion(name, names)
  const message = withSuggestion(`no function "${name}" is registered`, suggestion)
  return new OrchestratorError('PROVIDER_NOT_CONFIGURED', `${message} (registered: ${names.join(', ') || 'none'})`, {
    details: { provider: FUNCTION_PROVIDER, function: name, ...(suggestion && { suggestion }) },
  })
}

const notRun = (name: string): OrchestratorError =>
  new OrchestratorError(
    'PROVIDER_REJECTED',
    `Function "${name}" cannot answer a prompt: name it in a step with action "run", or among the tools of a step`,
    { details: { provider: FUNCTION_PROVIDER, function: name } },
  )
