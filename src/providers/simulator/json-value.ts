import type { JsonSchema } from '../../domain/execution/model-call.ts'
import { isRecord, listOf, recordOf, textOf } from '../vendor/foreign-json.ts'

const MAX_DEPTH = 12

/**
 * An invented value for a JSON Schema. Supports types, enums, bounds, formats and references, but no keywords that need
 * a solver. Also accepts Gemini's dialect with upper-case types.
 */
export const toJsonValue = (schema: JsonSchema): unknown => toValue(schema, { root: schema, name: 'answer', depth: 0 })

interface ValueContext {
  readonly root: JsonSchema
  /** Name of the property that holds the value. */
  readonly name: string
  readonly depth: number
}

function toValue(part: unknown, context: ValueContext): unknown {
  const schema = recordOf(part)
  if (schema.const !== undefined) return schema.const
  if (listOf(schema.enum).length > 0) return listOf(schema.enum)[0]
  if (context.depth > MAX_DEPTH) return null
  const reference = textOf(schema.$ref)
  if (reference) return toValue(resolve(context.root, reference), { ...context, depth: context.depth + 1 })
  const options = [...listOf(schema.anyOf), ...listOf(schema.oneOf)]
  if (options.length > 0) return toValue(options.find((option) => recordOf(option).type !== 'null') ?? options[0], context)
  if (listOf(schema.allOf).length > 0) return toValue(merge(schema), context)
  return VALUES[typeOf(schema)]?.(schema, context) ?? null
}

const typeOf = (schema: JsonSchema): string => {
  const type = Array.isArray(schema.type) ? schema.type.find((candidate) => candidate !== 'null') : schema.type
  return (textOf(type) ?? (schema.items ? 'array' : schema.properties ? 'object' : 'string')).toLowerCase()
}

const VALUES: Readonly<Record<string, (schema: JsonSchema, context: ValueContext) => unknown>> = {
  object: ({ properties }, context) =>
    Object.fromEntries(
      Object.entries(recordOf(properties)).map(([name, part]) => [
        name,
        toValue(part, { ...context, name, depth: context.depth + 1 }),
      ]),
    ),
  array: (schema, context) => {
    const wanted = numberOf(schema.minItems) ?? 1
    const length = Math.min(wanted, numberOf(schema.maxItems) ?? wanted)
    const fixed = listOf(schema.prefixItems)
    return Array.from({ length: Math.max(length, fixed.length) }, (_, index) =>
      toValue(fixed[index] ?? schema.items, { ...context, depth: context.depth + 1 }),
    )
  },
  number: (schema) => toNumber(schema, 0.5),
  integer: (schema) => Math.ceil(toNumber(schema, 1)),
  boolean: () => true,
  string: (schema, { name }) => {
    const format = FORMATS[textOf(schema.format) ?? '']
    const text = format ?? `Simulated ${name}`
    return text.padEnd(numberOf(schema.minLength) ?? 0, '.').slice(0, numberOf(schema.maxLength) ?? undefined)
  },
}

const FORMATS: Readonly<Record<string, string>> = {
  'date-time': '2026-01-01T12:00:00Z',
  date: '2026-01-01',
  time: '12:00:00Z',
  email: 'simulated@example.com',
  uri: 'https://example.com/simulated',
  uuid: '00000000-0000-4000-8000-000000000000',
}

const numberOf = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined)

function toNumber(schema: JsonSchema, wanted: number): number {
  const above = numberOf(schema.exclusiveMinimum)
  const below = numberOf(schema.exclusiveMaximum)
  const minimum = numberOf(schema.minimum) ?? (above === undefined ? undefined : above + wanted / 2)
  const maximum = numberOf(schema.maximum) ?? (below === undefined ? undefined : below - wanted / 2)
  const value = Math.min(Math.max(wanted, minimum ?? wanted), maximum ?? Number.POSITIVE_INFINITY)
  const step = numberOf(schema.multipleOf)
  return step ? Math.ceil(value / step) * step : value
}

/** Resolves a pointer within the schema, such as `#/$defs/Name`. */
function resolve(root: JsonSchema, reference: string): unknown {
  let part: unknown = root
  for (const key of reference.replace(/^#\/?/, '').split('/')) {
    if (key) part = recordOf(part)[key.replaceAll('~1', '/').replaceAll('~0', '~')]
  }
  return part
}

function merge({ allOf, ...schema }: JsonSchema): JsonSchema {
  const schemas = [schema, ...listOf(allOf).filter(isRecord)]
  const properties = Object.assign({}, ...schemas.map((each) => recordOf(each.properties)))
  return { ...Object.assign({}, ...schemas), properties }
}
