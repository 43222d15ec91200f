import { inputError, type PolyphonyError } from '../polyphony-error.ts'

/**
 * A body as JSON. Throws INPUT_INVALID with the place of what JSON would drop or change without a word: functions, schemas of a library, symbols,
 * bigints, numbers that are none, circles.
 */
export function toJson(body: unknown): string {
  assertData(body, [], [])
  return JSON.stringify(body)
}

type Path = readonly (string | number)[]
const DEEPEST = 500

function assertData(value: unknown, path: Path, above: readonly object[]): void {
  const foreign = foreignKind(value, above)
  if (foreign !== undefined) throw refused(foreign, path)
  if (typeof value !== 'object' || value === null || hasOwnJson(value)) return
  for (const [key, inner] of Object.entries(value)) {
    assertData(inner, [...path, Array.isArray(value) ? Number(key) : key], [...above, value])
  }
}

function foreignKind(value: unknown, above: readonly object[]): string | undefined {
  if (typeof value === 'function')
    return 'a function. What runs cannot be sent: give text with placeholders or a condition as text'
  if (typeof value === 'symbol' || typeof value === 'bigint') return `a ${typeof value}, which JSON does not have`
  if (typeof value === 'number' && !Number.isFinite(value)) return `${value}, which JSON does not have`
  if (typeof value !== 'object' || value === null) return undefined
  if ('~standard' in value)
    return 'a schema of a library: give it as JSON Schema, which z.toJSONSchema(schema) makes of a zod schema'
  if (above.includes(value)) return 'part of itself'
  return above.length >= DEEPEST ? 'nested too deeply' : undefined
}

const hasOwnJson = (value: object): boolean => 'toJSON' in value && typeof value.toJSON === 'function'

function refused(what: string, path: Path): PolyphonyError {
  const place = path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`
    return text === '' ? part : `${text}.${part}`
  }, '')
  const pointer = `#${path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')}`
  return inputError(`${place || 'the body'} is ${what}`, { pointer })
}
