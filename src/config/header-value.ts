/** A header's value may hold visible Latin-1, spaces and tabs (RFC 9110, 5.5). */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
/** Set by the connection; a value of the account's own would break the request. */
const RESERVED = /^(connection|content-length|expect|host|keep-alive|te|trailer|transfer-encoding|upgrade)$/i

/** What is wrong with the text of a header or key, without any part of it; `undefined` where it can be sent. White space around it does not count. */
export function findValueProblem(value: string): string | undefined {
  const text = value.trim()
  if (HEADER_VALUE.test(text)) return undefined
  const at = [...text].findIndex((character) => !HEADER_VALUE.test(character))
  const character = [...text][at] ?? ''
  const what = /[\r\n]/.test(character)
    ? 'a line break'
    : character < ' ' || character === '\x7f'
      ? 'a control character'
      : 'a character outside Latin-1, as from a document that shortens or prettifies text'
  return `expected text that an HTTP header can hold, found ${what} (character ${at + 1})`
}

/** As `findValueProblem`, for a header with its name. */
export function findHeaderProblem(name: string, value: string): string | undefined {
  if (!HEADER_NAME.test(name)) return 'expected the name of an HTTP header'
  if (RESERVED.test(name)) return 'expected a header that does not belong to the connection itself'
  return findValueProblem(value)
}
