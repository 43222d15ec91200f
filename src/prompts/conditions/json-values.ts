import { findJson } from '../../domain/answers/json-text.ts'

type Scalar = string | number | boolean

/**
 * The texts, numbers and truth values of all fields of this name in the JSON of a text, in any order; empty without
 * JSON. The JSON may stand in a fence or between sentences.
 */
export function jsonValues(text: string, field: string): readonly Scalar[] {
  const found: Scalar[] = []
  const open: unknown[] = findJson(text).ranges.map(({ text: json }) => parseOrUndefined(json))
  for (const value of open) {
    if (typeof value !== 'object' || value === null) continue
    for (const [key, member] of Object.entries(value)) {
      if (typeof member === 'object') open.push(member)
      else if (key === field && !Array.isArray(value)) found.push(member)
    }
  }
  return found
}

function parseOrUndefined(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}
