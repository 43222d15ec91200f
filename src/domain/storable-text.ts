/** Stands for characters that a database cannot hold. */
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
export const toStorableJson = (value: unknown): string => replaceUnstorable(JSON.stringify(value))

/** The same for the JSON text that `JSON.stringify` has made. */
export const replaceUnstorable = (json: string): string =>
  json.includes('\\u') ? json.replace(UNSTORABLE_ESCAPES, (found) => (found === '\\\\' ? found : REPLACEMENT)) : json
