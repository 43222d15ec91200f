import * as z from 'zod'
import type { JsonSchema } from '../execution/model-call.ts'

/** Maximum characters, values and levels of a JSON Schema that is given as data. */
const MAX_LENGTH = 200_000
const MAX_VALUES = 5_000
const MAX_DEPTH = 40
/** Maximum JSON Schemas whose validators are cached. */
const MAX_KNOWN = 200

const byText = new Map<string, z.ZodType>()
/** The original JSON Schema of each validator. */
const sources = new WeakMap<z.ZodType, JsonSchema>()
const requestForms = new WeakMap<z.ZodType, JsonSchema>()

/**
 * Creates the validator of a JSON Schema that is given as data, or returns the problem with it. Never throws. Patterns
 * are sent to the provider but not checked, because a regular expression from untrusted data could block the process.
 */
export function parseOutputSchema(schema: unknown): { readonly schema: z.ZodType } | { readonly problem: string } {
  try {
    if (!isSmall(schema)) return { problem: `expected a JSON Schema of at most ${MAX_VALUES} values and ${MAX_DEPTH} levels` }
    const text = JSON.stringify(schema)
    if (text.length > MAX_LENGTH)
      return { problem: `expected a JSON Schema of at most ${MAX_LENGTH} characters, found ${text.length}` }
    return { schema: byText.get(text) ?? toValidator(text) }
  } catch (error) {
    return { problem: `expected a zod schema or a JSON Schema: ${error instanceof Error ? error.message : String(error)}` }
  }
}

function toValidator(text: string): z.ZodType {
  const jsonSchema: JsonSchema = JSON.parse(text)
  const validator = z.fromJSONSchema(withoutPatterns(jsonSchema))
  sources.set(validator, jsonSchema)
  cacheValidator(text, validator)
  return validator
}

/**
 * The JSON Schema that is sent to the provider for an output schema: the original one, else one derived from the zod
 * schema, in which objects accept no other keys. Cached per schema.
 */
export function toOutputJsonSchema(schema: z.ZodType): JsonSchema {
  const known = sources.get(schema) ?? requestForms.get(schema)
  if (known) return known
  const { $schema: _, ...jsonSchema } = z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      if (zodSchema instanceof z.ZodObject && zodSchema.def.catchall === undefined) jsonSchema.additionalProperties = false
    },
  })
  requestForms.set(schema, jsonSchema)
  return jsonSchema
}

const storedForms = new WeakMap<z.ZodType, { readonly schema: JsonSchema | undefined }>()

/**
 * The JSON Schema equivalent of a zod schema; `undefined` for refinements, transforms, coercion and patterns, which
 * JSON Schema cannot express.
 */
export function toStoredJsonSchema(schema: z.ZodType): JsonSchema | undefined {
  const known = storedForms.get(schema)
  if (known) return known.schema
  const stored = sources.get(schema) ?? withoutLoss(schema)
  storedForms.set(schema, { schema: stored })
  return stored
}

const CODE_TYPES = new Set([
  'pipe',
  'transform',
  'custom',
  'catch',
  'date',
  'bigint',
  'map',
  'set',
  'symbol',
  'function',
  'file',
  'nan',
  'promise',
])
const CODE_CHECKS = new Set(['custom', 'overwrite'])

function withoutLoss(schema: z.ZodType): JsonSchema | undefined {
  let needsCode = false
  const { $schema: _, ...jsonSchema } = z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema }) => {
      const { def } = zodSchema._zod
      const checks = def.checks?.map((check) => check._zod.def) ?? []
      if (CODE_TYPES.has(def.type) || ('coerce' in def && def.coerce)) needsCode = true
      if (checks.some((check) => CODE_CHECKS.has(check.check) || ('format' in check && check.format === 'regex')))
        needsCode = true
    },
  })
  return needsCode ? undefined : jsonSchema
}

function cacheValidator(text: string, validator: z.ZodType): void {
  const oldest = byText.size >= MAX_KNOWN ? byText.keys().next().value : undefined
  if (oldest !== undefined) byText.delete(oldest)
  byText.set(text, validator)
}

/** Whether a value is within the limits of size and depth. False for cyclic values. */
function isSmall(root: unknown): boolean {
  let values = 0
  const visit = (value: unknown, depth: number): boolean => {
    values++
    if (values > MAX_VALUES || depth > MAX_DEPTH) return false
    return typeof value !== 'object' || value === null || Object.values(value).every((member) => visit(member, depth + 1))
  }
  return visit(root, 0)
}

const PATTERN_KEYWORDS = new Set(['pattern', 'patternProperties'])
/** Keywords whose members have names that the author chose. */
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
