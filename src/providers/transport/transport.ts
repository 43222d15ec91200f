import { Agent, type Dispatcher, ProxyAgent } from 'undici'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type AdapterSettings, secretsOf } from '../adapter-settings.ts'
import { createHeadersSource, type HeadersSource } from './account-headers.ts'
import { Exchange } from './exchange.ts'
import { findEnvironmentProxy, shownProxy, toProxyUrl } from './proxy.ts'
import { toWholeSignal } from './relay-signal.ts'
import { readText } from './transport-response.ts'
import { proxyToken } from './url-credentials.ts'

/** A `fetch` for requests that carry a key. The SDKs use it. `init.headers` may be anything that `fetch` accepts. */
export type VendorFetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

export interface VendorTransport {
  readonly fetch: VendorFetch
  /** Values of the account's requests that must not appear in messages. Grows by the values of a headers function. */
  readonly secrets: readonly string[]
}

/** The call layers bound the time. undici's default of 300 s without headers or a chunk would end slow answers. */
const TIMEOUTS = { headersTimeout: 0, bodyTimeout: 0 }

interface Route {
  readonly dispatcher: Dispatcher
  /** Address of the proxy, without credentials. */
  readonly proxy?: string
}

/** Connection pools per origin and proxy, shared by all accounts. Idle connections do not keep the process alive. */
const direct: Route = { dispatcher: new Agent(TIMEOUTS) }
const proxied = new Map<string, Route>()

/** A connection over a proxy failed. */
export class ProxiedConnectionError extends Error {
  /** Address of the proxy, without credentials. */
  readonly proxy: string

  constructor(proxy: string, cause: unknown) {
    super(`The connection over the proxy ${proxy} failed`, { cause })
    this.proxy = proxy
  }
}

/**
 * Sends the requests of one account: with its own `fetch`, over its `proxy`, over a proxy of the environment, or
 * directly, over its `dispatcher`. Redirects are returned as responses, because redirecting would send the
 * key and the prompt to another address. Only `init.signal` bounds the time, and its abort closes the connection in
 * every phase. Rejects with the errors of undici or `fetch`, and with an OrchestratorError if the headers function
 * fails.
 */
export function createVendorTransport(
  settings: Pick<AdapterSettings, 'id' | 'apiKey' | 'headers' | 'fetch' | 'proxy' | 'dispatcher'>,
  environment: NodeJS.ProcessEnv = process.env,
): VendorTransport {
  const { id, fetch: ownFetch, proxy, dispatcher } = settings
  const secrets = [...secretsOf(settings)]
  const withoutProxy = dispatcher ? { dispatcher } : direct
  const ownRoute = proxy === undefined ? undefined : toRoute(toProxyUrl(proxy, `providers.${id}.proxy`))
  const routes = new Map<string, Route>()

  function routeOf(url: URL): Route {
    if (ownRoute) return ownRoute
    const known = routes.get(url.origin)
    if (known) return known
    const found = findEnvironmentProxy(url, environment)
    const route = found ? toRoute(found) : withoutProxy
    routes.set(url.origin, route)
    return route
  }

  const send: VendorFetch = ownFetch
    ? (input, init) =>
        // The headers are copied: the account's `fetch` may change them, and an adapter passes the same object every
        // time.
        ownFetch(input, {
          ...inUnicode(init),
          headers: new Headers(init?.headers),
          redirect: 'manual',
          signal: toWholeSignal(init?.signal),
        }).then((response) => (response.ok ? response : withBoundedBody(response)))
    : (input, init) => {
        const url = new URL(input instanceof Request ? input.url : input)
        return exchange(url, inUnicode(init), routeOf(url))
      }
  const headers = typeof settings.headers === 'function' ? createHeadersSource(id, settings.headers, secrets) : undefined
  return { secrets, fetch: headers ? withHeaders(send, headers) : send }
}

// Pairs of backslashes match first, so that an escaped backslash before "ud800" does not count as an escape.
const LONE_SURROGATE_ESCAPES = /\\\\|\\ud[89a-f][0-9a-f]{2}/g

/**
 * Half of a surrogate pair, which users and tools send where they cut an emoji, is U+FFFD: vendors refuse a whole
 * request with one. `JSON.stringify` escapes no other surrogate.
 */
function inUnicode(init: RequestInit | undefined): RequestInit | undefined {
  const body = init?.body
  if (typeof body !== 'string' || !body.includes('\\ud')) return init
  return { ...init, body: body.replace(LONE_SURROGATE_ESCAPES, (found) => (found === '\\\\' ? found : '\ufffd')) }
}

const withHeaders =
  (send: VendorFetch, headers: HeadersSource): VendorFetch =>
  async (input, init) => {
    const merged = new Headers(init?.headers)
    for (const [name, value] of await headers()) merged.set(name, value)
    init?.signal?.throwIfAborted()
    return send(input, { ...init, headers: merged })
  }

function exchange(url: URL, init: RequestInit | undefined, { dispatcher, proxy }: Route): Promise<Response> {
  return new Promise((resolve, reject) => {
    const signal = init?.signal ?? undefined
    if (signal?.aborted) {
      reject(signal.reason)
      return
    }
    const fail = (error: unknown) => reject(proxy && !signal?.aborted ? new ProxiedConnectionError(proxy, error) : error)
    const { body } = init ?? {}
    if (body !== undefined && body !== null && typeof body !== 'string') {
      reject(new OrchestratorError('INTERNAL', 'Expected the body of a request to a vendor to be text'))
      return
    }
    const options = {
      ...TIMEOUTS,
      origin: url.origin,
      path: url.search === '' ? url.pathname : url.pathname + url.search,
      method: init?.method ?? 'GET',
      headers: toHeaderList(init?.headers),
      body,
    }
    dispatcher.dispatch(options, new Exchange(url.href, signal, { resolve, reject: fail }))
  })
}

/** The response to a failed request, with its body cut as by `readText`. */
async function withBoundedBody(response: Response): Promise<Response> {
  const { statusText, headers } = response
  const text = await readText(response)
  const status = Math.max(Math.min(response.status, 599), 200)
  return new Response([204, 205, 304].includes(status) ? null : text, { status, statusText, headers })
}

const headerLists = new WeakMap<Headers, string[]>()

/**
 * Alternating names and values, the form that undici processes fastest. Cached per object, so adapters should pass the
 * same `Headers` with every request and must not change it.
 */
function toHeaderList(given: RequestInit['headers']): string[] {
  if (!(given instanceof Headers)) return readHeaderList(new Headers(given))
  const known = headerLists.get(given)
  if (known) return known
  const list = readHeaderList(given)
  headerLists.set(given, list)
  return list
}

function readHeaderList(given: Headers): string[] {
  const list: string[] = []
  let choosesEncoding = false
  let hasAgent = false
  for (const [name, value] of given) {
    list.push(name, value)
    if (name === 'accept-encoding') choosesEncoding = true
    if (name === 'user-agent') hasAgent = true
  }
  if (!choosesEncoding) list.push('accept-encoding', 'gzip, deflate, br')
  // Some firewalls reject requests without a user agent.
  if (!hasAgent) list.push('user-agent', 'polyphony')
  return list
}

function toRoute(proxy: URL): Route {
  const known = proxied.get(proxy.href)
  if (known) return known
  const token = proxyToken(proxy)
  const route: Route = {
    proxy: shownProxy(proxy),
    dispatcher: new ProxyAgent({
      ...TIMEOUTS,
      uri: `${proxy.origin}/`,
      ...(token !== undefined && { token }),
      // Requests without TLS are not tunnelled: many proxies allow tunnels to port 443 only.
      proxyTunnel: false,
    }),
  }
  proxied.set(proxy.href, route)
  return route
}
