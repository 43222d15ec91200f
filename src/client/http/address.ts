import { inputError } from '../polyphony-error.ts'

export type Query = Readonly<Record<string, string | number | readonly string[] | undefined>>

export interface Address {
  /** For messages: scheme, host and port. */
  readonly origin: string
  /** URL of a resource; every segment is one name, whatever characters it has. Throws INPUT_INVALID for a name that no URL can carry. */
  url(segments: readonly string[], query?: Query): string
  /** URL of the WebSocket. */
  readonly socketUrl: string
}

const API = '/api/v1'

/** Reads `baseUrl`: the address of the server, with the path under which a proxy shows it. In a page it may be relative. Throws INPUT_INVALID. */
export function parseBaseUrl(baseUrl: string): Address {
  const base = toUrl(baseUrl)
  const prefix = base.pathname.replace(/\/+$/, '').replace(/\/api\/v1$/, '')
  const root = `${base.origin}${prefix}`
  return {
    origin: base.origin,
    url(segments, query = {}) {
      const path = segments.map((segment) => `/${toSegment(segment)}`).join('')
      const search = toSearch(query)
      return `${root}${API}${path}${search && `?${search}`}`
    },
    socketUrl: `${root.replace(/^http/, 'ws')}/ws`,
  }
}

function toUrl(baseUrl: string): URL {
  const page = pageAddress()
  // The address is not repeated: it may hold a password.
  if (!URL.canParse(baseUrl, page)) throw inputError('baseUrl: expected an address such as http://127.0.0.1:4100')
  const url = new URL(baseUrl, page)
  if (!/^https?:$/.test(url.protocol)) throw inputError(`baseUrl: expected http:// or https://, found ${url.protocol}//`)
  if (url.username !== '' || url.password !== '')
    throw inputError('baseUrl: expected no user or password; give `apiKey` or `token`')
  return url
}

function pageAddress(): string | undefined {
  const location: unknown = Reflect.get(globalThis, 'location')
  return typeof location === 'object' && location !== null && 'href' in location ? String(location.href) : undefined
}

/** Of dots alone a URL would be shortened to another resource, and of nothing it would be the list. */
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
