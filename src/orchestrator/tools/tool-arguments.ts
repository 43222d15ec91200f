import { isTooDeep, MAX_JSON_LEVELS } from '../../domain/answers/json-levels.ts'
import { repairJson } from '../../domain/answers/json-text.ts'
import type { ProviderOperation } from '../../providers/provider.ts'

/** The arguments of a call, or why they cannot be used. */
export type ReadArguments =
  | { readonly given: Readonly<Record<string, unknown>> }
  | { readonly problem: string; readonly given?: unknown }

/**
 * Reads the arguments that a model wrote. Text with the usual mistakes of models is repaired, and used only if it then
 * fits the schema. A call that was cut is never repaired: the repair could drop a part of what was meant.
 */
export function readArguments(text: string, { check }: Pick<ProviderOperation, 'check'>, isCut: boolean): ReadArguments {
  const trimmed = text.trim()
  if (isTooDeep(trimmed)) return { problem: `the arguments have more than ${MAX_JSON_LEVELS} levels`, given: text }
  // Vendors send empty text for a tool without parameters.
  const parsed = parseJson(trimmed === '' ? '{}' : trimmed)
  if (parsed) return checked(parsed.value, check)
  const problem = isCut ? 'the answer was cut inside the arguments' : 'the arguments are not JSON'
  if (isCut) return { problem, given: text }
  const repaired = parseWith(repairJson, trimmed)
  const read = repaired && checked(repaired.value, check)
  return read && !('problem' in read) ? read : { problem, given: text }
}

/** Checks a value that was parsed, such as the arguments that a user edited. */
export function checked(value: unknown, check: ProviderOperation['check']): ReadArguments {
  if (!isRecord(value)) return { problem: 'expected a JSON object', given: value }
  const problems = check(value)
  return problems.length === 0 ? { given: value } : { problem: problems.slice(0, 20).join('; '), given: value }
}

/** The value of a JSON text; `undefined` for other text. */
export const parseJson = (text: string): { readonly value: unknown } | undefined => parseWith(JSON.parse, text)

function parseWith(parse: (text: string) => unknown, text: string): { readonly value: unknown } | undefined {
  try {
    const value = parse(text)
    return value === undefined ? undefined : { value }
  } catch {
    return undefined
  }
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
