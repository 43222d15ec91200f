import type * as z from 'zod'
import type { StepContext } from '../definition/step-context.ts'
import type { GeneratedFile, JsonSchema } from '../execution/model-call.ts'
import type { CallOrigin } from './call-origin.ts'

/** Id of the provider whose operations are the registered functions: `function/lookupPrice`. */
export const FUNCTION_PROVIDER = 'function'

/** The call of a function: its user, its flow, its step, and its end. */
export interface FunctionContext extends CallOrigin {
  /** Aborted when the flow is cancelled or a timeout passes. The step does not wait for a function that ignores it. */
  readonly signal: AbortSignal
  /**
   * Adds a file to the result. It is stored with the thread of the flow; a model that called the function receives it
   * with the result. Throws OUTPUT_INVALID for anything but bytes with a media type, and in a function that stands in
   * place of a prompt, a condition or a callback.
   */
  readonly addFile: (file: GeneratedFile) => void
}

/**
 * Values that users define and read back. It has the unchecked type of `JSON.parse`, so that a function without
 * `defineFunction` may read its input without a cast.
 */
type OwnData = ReturnType<typeof JSON.parse>

/** What is known about an operation besides its schemas and its code. */
interface OperationFacts {
  /** What the function does, for people and for models that may call it. */
  readonly description?: string
  /** Whether a repeated call has no further effect, so that a failed or lost call is repeated. Default false. */
  readonly idempotent?: boolean
  /** Whether every call that a model makes needs the approval of a user. Default false. */
  readonly approval?: boolean
  /** `api`: definitions that come over the network may name it too. Default `code`. */
  readonly expose?: 'code' | 'api'
  /** US dollars per call. Default: calls are free. */
  readonly price?: number
}

/** A function that steps run and models may call as a tool. */
export interface OperationFunction extends OperationFacts {
  /** Schema of the arguments, an object; a zod schema or a JSON Schema. Default: any object. */
  readonly input?: z.ZodType | JsonSchema
  /** Schema of the returned value. Default: any JSON value. */
  readonly output?: z.ZodType | JsonSchema
  /**
   * Returns a JSON value or a promise of one. May throw an `OperationError`, whose message users and models see; of any
   * other error they see the name alone.
   */
  run(input: OwnData, context: FunctionContext): unknown
}

/** A function without schemas that prompts, conditions and callbacks name: `condition: { function: 'isUrgent' }`. */
export type ContextFunction = (context: StepContext & OwnData) => unknown

/** One entry of `functions` in the configuration. */
export type RegisteredFunction = OperationFunction | ContextFunction

/** As `OperationFunction`, with the input of `run` inferred from the schema. */
export interface TypedFunction<Input extends z.ZodType, Output extends z.ZodType> extends OperationFacts {
  readonly input: Input
  readonly output?: Output
  run(input: z.output<Input>, context: FunctionContext): z.input<Output> | Promise<z.input<Output>>
}

/**
 * Returns its argument, so that `run` gets its input with the type of the schema.
 *
 * ```ts
 * import { defineFunction } from 'polyphony'
 * import * as z from 'zod'
 *
 * export const lookupPrice = defineFunction({
 *   description: 'Price of an article in US dollars',
 *   input: z.object({ sku: z.string() }),
 *   idempotent: true,
 *   run: ({ sku }) => ({ sku, priceUsd: sku.length }),
 * })
 * ```
 */
export const defineFunction = <Input extends z.ZodType, Output extends z.ZodType = z.ZodType>(
  definition: TypedFunction<Input, Output>,
): TypedFunction<Input, Output> => definition
