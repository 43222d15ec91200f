import * as z from 'zod'

type Json = z.core.util.JSONType

/** Any JSON value. Its JSON Schema is `{}`; that of `z.json()` refers to a definition of its own. */
export const jsonField = z.custom<Json>(
  isJson,
  'expected a JSON value: text, a finite number, true, false, null, a list or an object',
)

function isJson(value: unknown): boolean {
  try {
    // Throws for a value that contains itself.
    JSON.stringify(value)
  } catch {
    return false
  }
  const open = [value]
  const seen = new Set<unknown>()
  while (open.length > 0) {
    const next = open.pop()
    if (seen.has(next)) continue
    seen.add(next)
    if (next === null || typeof next === 'string' || typeof next === 'boolean' || Number.isFinite(next)) continue
    if (typeof next !== 'object') return false
    if (!Array.isArray(next) && !isPlain(next)) return false
    open.push(...Object.values(next))
  }
  return true
}

const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
