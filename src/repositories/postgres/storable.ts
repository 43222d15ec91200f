import type { ValueTransformer } from 'typeorm'

const REPLACEMENT = '\ufffd'
// Pairs of backslashes match first, so that an escaped backslash before "u0000" does not count as an escape of NUL.
const UNSTORABLE_ESCAPES = /\\\\|\\u0000|\\ud[89a-f][0-9a-f]{2}/g

/**
 * Text that Postgres can store: NUL, which models do emit, becomes U+FFFD. The driver replaces lone surrogates when it
 * encodes the text as UTF-8.
 */
export const toStorableText = (text: string): string => (text.includes('\0') ? text.replaceAll('\0', REPLACEMENT) : text)

/**
 * JSON text of a value that Postgres can store. `JSON.stringify` writes NUL and lone surrogates as `\u` escapes, which
 * are otherwise rare, so most texts need no replacement.
 */
export function toStorableJson(value: unknown): string {
  const json = JSON.stringify(value)
  if (!json.includes('\\u')) return json
  return json.replace(UNSTORABLE_ESCAPES, (found) => (found === '\\\\' ? found : REPLACEMENT))
}

/** Converts text columns of entities when they are written, and in conditions. */
export const storableText: ValueTransformer = {
  to: (value: unknown) => (typeof value === 'string' ? toStorableText(value) : value),
  from: (value: unknown) => value,
}

/** Converts JSON columns of entities when they are written. */
export const storableJson: ValueTransformer = {
  to: (value: unknown): unknown => (value === undefined || value === null ? value : JSON.parse(toStorableJson(value))),
  from: (value: unknown) => value,
}

const CANONICAL_UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * Whether a flow may have the id: flow ids are stored as UUIDs. Statements must not be given any other text, because
 * Postgres refuses them instead of finding nothing.
 */
export const canBeFlowId = (id: string): boolean => CANONICAL_UUID.test(id)
