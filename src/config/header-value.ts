/** A header value may contain visible Latin-1 characters, spaces and tabs (RFC 9110, 5.5). */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
/** Headers that the connection sets; other values would break the request. */
const RESERVED = /^(connection|content-length|expect|host|keep-alive|te|trailer|transfer-encoding|upgrade)$/i

/**
 * Describes why a text cannot be a header value, without repeating any of it; `undefined` if it can. Ignores outer
 * white space.
 */
export function findValueProblem(value: string): string | undefined {
  const text = value.trim()
  if (HEADER_VALUE.test(text)) return undefined
  const at = [...text].findIndex((character) => !HEADER_VALUE.test(character))
  const character = [...text][at] ?? ''
  const problem = /[\r\n]/.test(character)
    ? 'a line break'
    : character < ' ' || character === '\x7f'
      ? 'a control character'
      : 'a character outside Latin-1, as inserted by programs that shorten or prettify text'
  return `expected text that an HTTP header can hold, found ${problem} (character ${at + 1})`
}

/** Like `findValueProblem`, for a header with its name. */
export function findHeaderProblem(name: string, value: string): string | undefined {
  if (!HEADER_NAME.test(name)) return 'expected the name of an HTTP header'
  if (RESERVED.test(name)) return 'expected a header that does not belong to the connection itself'
  return findValueProblem(value)
}
