import * as z from 'zod'
import type { RegisteredFunction } from '../../domain/tools/functions.ts'

const isSchema = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value)
const schema = z.custom<z.ZodType | Readonly<Record<string, unknown>>>(isSchema, 'expected a zod schema or a JSON Schema')
const isFunction = (value: unknown): boolean => typeof value === 'function'

const operationFunctionSchema = z.strictObject({
  description: z.string().optional(),
  input: schema.optional(),
  output: schema.optional(),
  run: z.unknown().refine(isFunction, 'expected a function'),
  idempotent: z.boolean().optional(),
  approval: z.boolean().optional(),
  expose: z.enum(['code', 'api']).optional(),
  price: z.number().nonnegative().optional(),
})

/** Names are used in `function/<name>` and as names of tools for models. */
const FUNCTION_NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/

/** Functions by name. */
export type RegisteredFunctions = Readonly<Record<string, RegisteredFunction>>
/** Functions by name, or the path of a module that exports them. */
export type FunctionsSetting = string | RegisteredFunctions

/**
 * Functions as the configuration or a module gives them. The objects stay as they are, so that their methods keep
 * their `this`.
 */
export const functionsSettingSchema = z.unknown().transform((value, context): FunctionsSetting => {
  if (typeof value === 'string' && value !== '') return value
  if (isRegistered(value)) return value
  for (const { path, message } of findFunctionProblems(value)) context.addIssue({ code: 'custom', path: [...path], message })
  return z.NEVER
})

const isRegistered = (value: unknown): value is RegisteredFunctions => findFunctionProblems(value).length === 0

/** Problems of functions by name, with their paths; empty if there are none. */
export function findFunctionProblems(value: unknown): readonly Pick<z.core.$ZodIssue, 'path' | 'message'>[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return [{ path: [], message: 'expected functions by name, or the path of a module that exports them' }]
  }
  return Object.entries(value).flatMap(([name, given]) => {
    if (!FUNCTION_NAME.test(name)) {
      return [{ path: [name], message: 'expected a name of a letter and up to 63 letters, digits, "_" or "-"' }]
    }
    if (isFunction(given)) return []
    const read = operationFunctionSchema.safeParse(given)
    if (read.success) return []
    return read.error.issues.map(({ path, message }) => ({ path: [name, ...path], message }))
  })
}

/** Whether there is a function that steps may run. */
export const hasOperations = (functions: RegisteredFunctions): boolean =>
  Object.values(functions).some((given) => typeof given !== 'function')
