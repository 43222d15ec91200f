import type { JsonSchema } from '../../../domain/execution/model-call.ts'
import { isSameJson } from '../../../domain/json-equality.ts'

const MAX_LEVELS = 40

/**
 * Why values of one JSON Schema may not conform to another one: a path with the expected value; undefined when they
 * do. Compares types, constants, properties, items and alternatives. Limits of numbers and lengths, patterns and
 * formats are not compared.
 */
export function findMismatch(
  given: unknown,
  wanted: unknown,
  roots = { given, wanted },
  path = '',
  level = 0,
): string | undefined {
  const have = resolve(given, roots.given)
  const want = resolve(wanted, roots.wanted)
  if (isSameJson(have, want) || Object.keys(want).length === 0 || level > MAX_LEVELS) return undefined
  const inner = (one: unknown, other: unknown, at = path) => findMismatch(one, other, roots, at, level + 1)
  const ofHave = alternativesOf(have)
  if (ofHave) return ofHave.map((one) => inner(one, want)).find((mismatch) => mismatch !== undefined)
  const ofWant = alternativesOf(want)
  if (ofWant) {
    const mismatches = ofWant.map((one) => inner(have, one))
    return mismatches.includes(undefined) ? undefined : mismatches[0]
  }
  return (
    typeMismatch(have, want, path) ??
    propertyMismatch(have, want, path, inner) ??
    (isSchema(want.items) && isSchema(have.items) ? inner(have.items, want.items, `${path}[]`) : undefined)
  )
}

type Compare = (given: unknown, wanted: unknown, path: string) => string | undefined

const isSchema = (value: unknown): value is JsonSchema => typeof value === 'object' && value !== null && !Array.isArray(value)
const at = (path: string): string => (path === '' ? 'the answer' : path.replace(/^\./, ''))

/** The schema that a reference within the same document points to; other schemas unchanged. */
function resolve(schema: unknown, root: unknown): JsonSchema {
  let found = schema
  for (let steps = 0; isSchema(found) && typeof found.$ref === 'string' && steps < MAX_LEVELS; steps++) {
    const names = found.$ref
      .replace(/^#\/?/, '')
      .split('/')
      .filter((name) => name !== '')
    found = names.reduce<unknown>((value, name) => (isSchema(value) ? value[name] : undefined), root)
  }
  return isSchema(found) ? found : {}
}

function alternativesOf({ anyOf, oneOf }: JsonSchema): readonly unknown[] | undefined {
  const listed = anyOf ?? oneOf
  if (Array.isArray(listed)) return listed
  return undefined
}

const typesOf = ({ type, enum: values, const: value }: JsonSchema): readonly string[] | undefined => {
  if (typeof type === 'string') return [type]
  if (Array.isArray(type)) return type.map(String)
  const constants = constantsOf({ enum: values, const: value })
  return constants && [...new Set(constants.map(typeOf))]
}

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'array' : typeof value
}

const constantsOf = ({ enum: values, const: value }: JsonSchema): readonly unknown[] | undefined =>
  Array.isArray(values) ? values : value === undefined ? undefined : [value]

function typeMismatch(have: JsonSchema, want: JsonSchema, path: string): string | undefined {
  const wantedTypes = typesOf(want)
  const givenTypes = typesOf(have)
  const isWanted = (type: string) => wantedTypes?.includes(type) || (type === 'integer' && wantedTypes?.includes('number'))
  if (wantedTypes && !givenTypes?.every(isWanted)) {
    return `${at(path)}: expected ${wantedTypes.join(' or ')}, found ${givenTypes?.join(' or ') ?? 'any type'}`
  }
  const wantedConstants = constantsOf(want)
  if (!wantedConstants) return undefined
  const isAllowed = (value: unknown) => wantedConstants.some((one) => isSameJson(one, value))
  return constantsOf(have)?.every(isAllowed)
    ? undefined
    : `${at(path)}: expected one of ${JSON.stringify(wantedConstants).slice(0, 200)}`
}

function propertyMismatch(have: JsonSchema, want: JsonSchema, path: string, inner: Compare): string | undefined {
  const given = isSchema(have.properties) ? have.properties : {}
  const wanted = isSchema(want.properties) ? want.properties : {}
  const always: readonly unknown[] = Array.isArray(have.required) ? have.required : []
  const required: readonly unknown[] = Array.isArray(want.required) ? want.required : []
  const missing = required.find((name) => !always.includes(name))
  if (missing !== undefined) return `${at(path)}: expected a property "${missing}" that is always present`
  const foreign =
    want.additionalProperties === false ? Object.keys(given).find((name) => !Object.hasOwn(wanted, name)) : undefined
  if (foreign !== undefined) return `${at(path)}: expected no property "${foreign}"`
  for (const [name, schema] of Object.entries(wanted)) {
    const mismatch = Object.hasOwn(given, name) ? inner(given[name], schema, `${path}.${name}`) : undefined
    if (mismatch !== undefined) return mismatch
  }
  return undefined
}
