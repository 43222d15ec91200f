import type { ValueTransformer } from 'typeorm'

const REPLACEMENT = '\ufffd'
// Pairs of backslashes are matched first, so that an escaped backslash before "u0000" is not taken for an escape of
// NUL.
const UNSTORABLE_ESCAPES = /\\\\|\\u0000|\\ud[89a-f][0-9a-f]{2}/g

/**
 * Text as Postgres can hold it: NUL, which models do emit, becomes U+FFFD. Lone surrogates become it in the driver,
 * where text turns into UTF-8.
 */
export const toStorableText = (text: string): string => (text.includes('\0') ? text.replaceAll('\0', REPLACEMENT) : text)

/**
 * JSON text of a value as Postgres can hold it. `JSON.stringify` writes NUL and lone surrogates as escapes, and next to
 * nothing else.
 */
export function toStorableJson(value: unknown): string {
  const json = JSON.stringify(value)
  if (!json.includes('\\u')) return json
  return json.replace(UNSTORABLE_ESCAPES, (found) => (found === '\\\\' ? found : REPLACEMENT))
}

/** For text columns of entities, on the way in and in conditions. */
export const storableText: ValueTransformer = {
  to: (value: unknown) => (typeof value === 'string' ? toStorableText(value) : value),
  from: (value: unknown) => value,
}

/** For JSON columns of entities. */
export const storableJson: ValueTransformer = {
  to: (value: unknown): unknown => (value === undefined || value === null ? value : JSON.parse(toStorableJson(value))),
  from: (value: unknown) => value,
}

const CANONICAL_UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * Flow ids are UUIDs, stored as such. Postgres refuses a statement over any other text, so such an id must not reach
 * it: no flow has it.
 */
export const canBeFlowId = (id: string): boolean => CANONICAL_UUID.test(id)
