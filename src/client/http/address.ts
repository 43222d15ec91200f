import { inputError } from '../polyphony-error.ts'

/** Parameters of a query string; a list is joined with commas. */
export type Query = Readonly<Record<string, string | number | readonly string[] | undefined>>

/** The addresses of one server. */
export interface Address {
  /** Scheme, host and port, for messages. */
  readonly origin: string
  /**
   * URL of a resource below `/api/v1`, or with `atRoot` below the server itself. Every segment is escaped. Throws
   * INPUT_INVALID for a segment that a URL cannot contain.
   */
  url(segments: readonly string[], query?: Query, atRoot?: boolean): string
  /** URL of the WebSocket. */
  readonly socketUrl: string
}

const API = '/api/v1'

/**
 * Parses `baseUrl`, which may contain the path prefix of a proxy and, in a page, may be relative. Throws INPUT_INVALID.
 */
export function parseBaseUrl(baseUrl: string): Address {
  const base = toUrl(baseUrl)
  const prefix = base.pathname.replace(/\/+$/, '').replace(/\/api\/v1$/, '')
  const root = `${base.origin}${prefix}`
  return {
    origin: base.origin,
    url(segments, query = {}, atRoot = false) {
      const path = segments.map((segment) => `/${toSegment(segment)}`).join('')
      const search = toSearch(query)
      return `${root}${atRoot ? '' : API}${path}${search && `?${search}`}`
    },
    socketUrl: `${root.replace(/^http/, 'ws')}/ws`,
  }
}

function toUrl(baseUrl: string): URL {
  const page = pageAddress()
  // The message does not repeat the address, which may contain a password.
  if (!URL.canParse(baseUrl, page)) throw inputError('baseUrl: expected an address such as http://127.0.0.1:4100')
  const url = new URL(baseUrl, page)
  if (!/^https?:$/.test(url.protocol)) throw inputError(`baseUrl: expected http:// or https://, found ${url.protocol}//`)
  if (url.username !== '' || url.password !== '')
    throw inputError('baseUrl: expected no user or password; use `apiKey` or `token`')
  return url
}

function pageAddress(): string | undefined {
  const location: unknown = Reflect.get(globalThis, 'location')
  return typeof location === 'object' && location !== null && 'href' in location ? String(location.href) : undefined
}

/** Escapes a segment. URLs resolve `.` and `..` to another resource, and an empty segment would address the list. */
function toSegment(name: string): string {
  if (typeof name === 'string' && name !== '' && name !== '.' && name !== '..') return encodeURIComponent(name)
  throw inputError(`expected an id, found ${JSON.stringify(name)}`)
}

function toSearch(query: Query): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) search.set(name, typeof value === 'object' ? value.join(',') : String(value))
  }
  return search.toString()
}
