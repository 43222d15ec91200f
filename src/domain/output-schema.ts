import { z } from 'zod'
import type { JsonSchema } from './model-call.ts'

/** What a step may give as `outputSchema`. */
export type OutputSchema = z.ZodType | JsonSchema

/** Values and levels of a JSON Schema that comes as data. */
const MAX_VALUES = 5_000
const MAX_DEPTH = 40

/** A private copy of a JSON Schema, or what is wrong with it. Never throws. */
export function copyJsonSchema(schema: unknown): { readonly schema: JsonSchema } | { readonly problem: string } {
  if (!isSmall(schema)) return { problem: `expected a JSON Schema of at most ${MAX_VALUES} values and ${MAX_DEPTH} levels` }
  try {
    const copy: JsonSchema = JSON.parse(JSON.stringify(schema))
    toOutputValidator(copy)
    return { schema: copy }
  } catch (error) {
    return { problem: `expected a zod schema or a JSON Schema: ${error instanceof Error ? error.message : String(error)}` }
  }
}

/** False for cyclic values too. */
function isSmall(root: unknown): boolean {
  let values = 0
  const visit = (value: unknown, depth: number): boolean => {
    values++
    if (values > MAX_VALUES || depth > MAX_DEPTH) return false
    return typeof value !== 'object' || value === null || Object.values(value).every((member) => visit(member, depth + 1))
  }
  return visit(root, 0)
}

const validators = new WeakMap<object, z.ZodType>()
const jsonSchemas = new WeakMap<object, JsonSchema>()

/**
 * What judges an answer; made once per schema. Patterns of a JSON Schema are told to the provider but not checked:
 * a regular expression that came as data could block the process. Throws for a JSON Schema that zod cannot read.
 */
export function toOutputValidator(schema: OutputSchema): z.ZodType {
  if (schema instanceof z.ZodType) return schema
  const known = validators.get(schema)
  if (known) return known
  const validator = z.fromJSONSchema(withoutPatterns(schema))
  validators.set(schema, validator)
  return validator
}

/** What the provider is told; made once per schema. */
export function toOutputJsonSchema(schema: OutputSchema): JsonSchema {
  if (!(schema instanceof z.ZodType)) return schema
  const known = jsonSchemas.get(schema)
  if (known) return known
  const { $schema: _, ...jsonSchema } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  jsonSchemas.set(schema, jsonSchema)
  return jsonSchema
}

const PATTERN_KEYWORDS = new Set(['pattern', 'patternProperties'])
/** Keywords whose members are named by the user. */
const NAMING_KEYWORDS = new Set(['properties', '$defs', 'definitions'])
const LITERAL_KEYWORDS = new Set(['enum', 'const', 'default', 'examples'])

function withoutPatterns(schema: JsonSchema): Record<string, unknown> {
  const kept: Record<string, unknown> = {}
  for (const [keyword, value] of Object.entries(schema)) {
    if (PATTERN_KEYWORDS.has(keyword)) continue
    if (LITERAL_KEYWORDS.has(keyword)) kept[keyword] = value
    else if (NAMING_KEYWORDS.has(keyword) && isObject(value)) kept[keyword] = mapValues(value, withoutPatternsIn)
    else kept[keyword] = withoutPatternsIn(value)
  }
  return kept
}

function withoutPatternsIn(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutPatternsIn)
  return isObject(value) ? withoutPatterns(value) : value
}

const isObject = (value: unknown): value is JsonSchema => typeof value === 'object' && value !== null && !Array.isArray(value)

const mapValues = (object: JsonSchema, map: (value: unknown) => unknown): JsonSchema =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value)]))
