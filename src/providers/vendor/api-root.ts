/** Paths of single operations that are often copied into a base URL. */
const OPERATIONS = /\/(chat\/completions|completions|responses|messages)$/
const GOOGLE_OPERATION = /\/models\/[^/]+:[A-Za-z]+$/

/**
 * Where the operations of an API lie, from a base URL as people write it: with a trailing slash, with the path of an operation, with a version that
 * is named twice (`/v1/v1`), or, for APIs whose paths begin with their version, with or without it.
 */
export function toApiRoot(baseUrl: string, api: 'openai' | 'anthropic' | 'google'): string {
  const url = new URL(baseUrl)
  let path = url.pathname.replace(/\/+$/, '').replace(api === 'google' ? GOOGLE_OPERATION : OPERATIONS, '')
  path = path.replace(/(\/v\d+[a-z\d]*)(\1)+$/, '$1').replace(/\/+$/, '')
  // The paths of the SDK begin with the version.
  if (api === 'anthropic') path = path.replace(/\/v1$/, '')
  if (api === 'google' && !/\/v\d+[a-z\d]*$/.test(path)) path += '/v1beta'
  url.pathname = path
  return `${url.origin}${path}${url.search}`
}
