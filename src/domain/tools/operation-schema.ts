import * as z from 'zod'
import { parseOutputSchema, toOutputJsonSchema } from '../answers/output-schema.ts'
import { toProblems } from '../definition/problems.ts'
import { withSuggestion } from '../definition/suggestion.ts'
import type { JsonSchema } from '../execution/model-call.ts'

/** The schema of the arguments or of the result of an operation. */
export interface OperationSchema {
  readonly json: JsonSchema
  /** Problems of a value, each with its path below `root`, what was expected and what was found; empty if it fits. */
  check(value: unknown, root: string): readonly string[]
  /** The value as the schema reads it, with defaults and conversions; or its problems as `check` returns them. */
  parse(value: unknown, root: string): Promise<{ readonly value: unknown } | { readonly problems: readonly string[] }>
}

/** A schema that accepts every value. */
export const ANY_OBJECT: JsonSchema = { type: 'object' }

/**
 * The schema of an operation that the operator wrote: a zod schema, or JSON Schema as data. Patterns are checked,
 * because the operator is trusted. Throws an error that names a keyword that is not supported.
 */
export function toOperationSchema(given: z.ZodType | JsonSchema): OperationSchema {
  return given instanceof z.ZodType
    ? toCheckedSchema(given, toOutputJsonSchema(given))
    : toCheckedSchema(z.fromJSONSchema({ ...given }), given)
}

function toCheckedSchema(schema: z.ZodType, json: JsonSchema): OperationSchema {
  return {
    json,
    check: (value, root) => checkWith(schema, value, root),
    async parse(value, root) {
      const read = await schema.safeParseAsync(value)
      return read.success ? { value: read.data } : { problems: toTexts(schema, read.error.issues, value, root) }
    },
  }
}

/** Problems of a value against a schema, each with its path below `root`; empty if it fits. */
export function checkWith(schema: z.ZodType, value: unknown, root: string): readonly string[] {
  try {
    const read = schema.safeParse(value)
    return read.success ? [] : toTexts(schema, read.error.issues, value, root)
  } catch (error) {
    // A schema with asynchronous checks can only be checked by `parse`.
    if (error instanceof z.core.$ZodAsyncError) return []
    throw error
  }
}

/**
 * Checks values against a schema of another system, without its patterns, which could block this process. Of a schema
 * with keywords that cannot be checked, only the required members count: that system checks the rest itself.
 */
export function toForeignCheck(schema: JsonSchema, root: string): (value: unknown) => readonly string[] {
  const parsed = parseOutputSchema(schema)
  if ('schema' in parsed) return (value) => checkWith(parsed.schema, value, root)
  const required = Array.isArray(schema.required) ? schema.required.filter((name) => typeof name === 'string') : []
  return (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return [`${root}: expected object`]
    return required
      .filter((name) => !Object.hasOwn(value, name))
      .map((name) => `${root}.${name}: expected a value, found nothing`)
  }
}

const toTexts = (schema: z.ZodType, issues: readonly z.core.$ZodIssue[], value: unknown, root: string): readonly string[] =>
  toProblems(schema, issues, value).map(
    ({ path, message, suggestion }) => `${below(root, path)}: ${withSuggestion(message, suggestion)}`,
  )

const below = (root: string, path: string): string => {
  if (path === 'definition') return root
  return path.startsWith('[') ? `${root}${path}` : `${root}.${path}`
}
