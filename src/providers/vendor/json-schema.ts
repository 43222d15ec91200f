import type { JsonSchema } from '../../domain/execution/model-call.ts'
import { isRecord, listOf, recordOf } from './foreign-json.ts'

export interface StructuredSchema {
  readonly schema: JsonSchema
  /**
   * Whether the vendor can enforce the whole schema. Otherwise the schema is a hint, and only Polyphony checks the
   * answer.
   */
  readonly strict: boolean
}

/**
 * Keywords of OpenAI's strict mode (platform.openai.com/docs/guides/structured-outputs, supported schemas, 2026-11).
 */
const KEPT = new Set([
  ...[
    'type',
    'properties',
    'required',
    'additionalProperties',
    'items',
    'enum',
    'const',
    'anyOf',
    '$ref',
    '$defs',
    'definitions',
  ],
  ...['description', 'title', 'pattern', 'format', 'minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
  ...['minItems', 'maxItems'],
])
/**
 * Keywords that only narrow values. They can be dropped, because Polyphony checks every answer against the full schema.
 */
const DROPPED = new Set([
  '$schema',
  '$id',
  '$comment',
  'default',
  'examples',
  'minLength',
  'maxLength',
  'uniqueItems',
  'deprecated',
  'readOnly',
  'writeOnly',
])
const FORMATS = new Set(['date-time', 'time', 'date', 'duration', 'email', 'hostname', 'ipv4', 'ipv6', 'uuid'])

const known = new WeakMap<JsonSchema, StructuredSchema>()

/**
 * The schema for OpenAI's strict mode: objects closed, all properties required, unknown keywords dropped. A schema that
 * strict mode cannot express without changing which answers fit (optional properties, open objects, `allOf`…) is
 * returned unchanged, as not strict. Undefined for schemas of other types than object, which the vendors reject.
 */
export function toStructuredSchema(schema: JsonSchema): StructuredSchema | undefined {
  if (schema.type !== 'object') return undefined
  const prior = known.get(schema)
  if (prior) return prior
  const strict = toStrict(schema)
  const structured = strict ? { schema: strict, strict: true } : { schema, strict: false }
  known.set(schema, structured)
  return structured
}

function toStrict(schema: unknown): JsonSchema | undefined {
  if (!isRecord(schema)) return undefined
  const strict: Record<string, unknown> = {}
  for (const [keyword, value] of Object.entries(schema)) {
    if (DROPPED.has(keyword) || (keyword === 'format' && !FORMATS.has(String(value)))) continue
    // zod writes unions as anyOf or oneOf, which accept the same values when the options exclude each other.
    const name = keyword === 'oneOf' ? 'anyOf' : keyword
    if (!KEPT.has(name)) return undefined
    const kept = toStrictKeyword(name, value)
    if (kept === undefined) return undefined
    strict[name] = kept
  }
  return schema.type === 'object' || schema.properties !== undefined ? toClosedObject(strict) : strict
}

function toStrictKeyword(keyword: string, value: unknown): unknown {
  if (keyword === 'items') return toStrict(value)
  if (keyword === 'anyOf') return allOrNone(listOf(value).map(toStrict))
  if (keyword === 'properties' || keyword === '$defs' || keyword === 'definitions') {
    const entries = Object.entries(recordOf(value)).map(([name, part]) => [name, toStrict(part)] as const)
    return entries.every(([, part]) => part !== undefined) ? Object.fromEntries(entries) : undefined
  }
  return value
}

function toClosedObject(schema: Readonly<Record<string, unknown>>): JsonSchema | undefined {
  const names = Object.keys(recordOf(schema.properties))
  const required = new Set(listOf(schema.required))
  const open = schema.additionalProperties !== undefined && schema.additionalProperties !== false
  if (open || names.some((name) => !required.has(name))) return undefined
  return { ...schema, properties: schema.properties ?? {}, required: names, additionalProperties: false }
}

const allOrNone = (options: readonly (JsonSchema | undefined)[]) =>
  options.every((option) => option !== undefined) ? options : undefined
