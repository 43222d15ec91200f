import { inputError, type PolyphonyError } from '../polyphony-error.ts'

/**
 * Serializes a request body. Throws INPUT_INVALID, with a pointer, for values that JSON would silently drop or change:
 * functions, schemas of a library, symbols, bigints, NaN and infinite numbers, circular references.
 */
export function toJson(body: unknown): string {
  assertData(body, [], [])
  return JSON.stringify(body)
}

type Path = readonly (string | number)[]
const MAX_DEPTH = 500

function assertData(value: unknown, path: Path, above: readonly object[]): void {
  const problem = findProblem(value, above)
  if (problem !== undefined) throw refused(problem, path)
  if (typeof value !== 'object' || value === null || hasOwnJson(value)) return
  for (const [key, inner] of Object.entries(value)) {
    assertData(inner, [...path, Array.isArray(value) ? Number(key) : key], [...above, value])
  }
}

function findProblem(value: unknown, above: readonly object[]): string | undefined {
  if (typeof value === 'function') return 'a function, which cannot be sent: use text with placeholders, or a condition as text'
  if (typeof value === 'symbol' || typeof value === 'bigint') return `a ${typeof value}, which JSON does not have`
  if (typeof value === 'number' && !Number.isFinite(value)) return `${value}, which JSON does not have`
  if (typeof value !== 'object' || value === null) return undefined
  if ('~standard' in value) return 'a schema of a library: use JSON Schema, for example z.toJSONSchema(schema) for a zod schema'
  if (above.includes(value)) return 'part of itself'
  return above.length >= MAX_DEPTH ? 'nested too deeply' : undefined
}

const hasOwnJson = (value: object): boolean => 'toJSON' in value && typeof value.toJSON === 'function'

function refused(problem: string, path: Path): PolyphonyError {
  const location = path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`
    return text === '' ? part : `${text}.${part}`
  }, '')
  const pointer = `#${path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')}`
  return inputError(`${location || 'the body'} is ${problem}`, { pointer })
}
