/** Operation paths that are often copied into a base URL. */
const OPERATIONS = /\/(chat\/completions|completions|responses|messages)$/
const GOOGLE_OPERATION = /\/models\/[^/]+:[A-Za-z]+$/

/**
 * Normalises a base URL to the root of its API. Accepts a trailing slash, the path of an operation, a repeated version
 * (`/v1/v1`) and, for APIs whose paths begin with their version, URLs with and without it.
 */
export function toApiRoot(baseUrl: string, api: 'openai' | 'anthropic' | 'google'): string {
  const url = new URL(baseUrl)
  let path = url.pathname.replace(/\/+$/, '').replace(api === 'google' ? GOOGLE_OPERATION : OPERATIONS, '')
  path = path.replace(/(\/v\d+[a-z\d]*)(\1)+$/, '$1').replace(/\/+$/, '')
  // The paths in Anthropic's SDK begin with the version.
  if (api === 'anthropic') path = path.replace(/\/v1$/, '')
  if (api === 'google' && !/\/v\d+[a-z\d]*$/.test(path)) path += '/v1beta'
  url.pathname = path
  return `${url.origin}${path}${url.search}`
}
