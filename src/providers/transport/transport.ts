import { Agent, type Dispatcher, ProxyAgent } from 'undici'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type AdapterSettings, secretsOf } from '../adapter-settings.ts'
import { createHeadersSource, type HeadersSource } from './account-headers.ts'
import { Exchange } from './exchange.ts'
import { findEnvironmentProxy, shownProxy, toProxyUrl } from './proxy.ts'
import { toWholeSignal } from './relay-signal.ts'
import { readText } from './transport-response.ts'

/** A `fetch` for requests that carry a key; each SDK is given one. `init.headers` may be anything that `fetch` takes. */
export type VendorFetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

export interface VendorTransport {
  readonly fetch: VendorFetch
  /** What the account's requests carry and nobody may be told; grows by what a function for headers returns. */
  readonly secrets: readonly string[]
}

/** The timeouts around a call watch the time: undici's own 300 s without a head or a piece would end slow answers behind their back. */
const TIMEOUTS = { headersTimeout: 0, bodyTimeout: 0 }

interface Route {
  readonly dispatcher: Dispatcher
  /** Where the proxy is, without credentials. */
  readonly proxy?: string
}

/** One pool of connections per origin and proxy, for all accounts of the process; idle ones do not keep it alive. */
const direct: Route = { dispatcher: new Agent(TIMEOUTS) }
const proxied = new Map<string, Route>()

/** A connection over a proxy failed. */
export class ProxiedConnectionError extends Error {
  /** Where the proxy is, without credentials. */
  readonly proxy: string

  constructor(proxy: string, cause: unknown) {
    super(`The connection over the proxy ${proxy} failed`, { cause })
    this.proxy = proxy
  }
}

/**
 * How one account's requests travel: by the account's own `fetch`, over its `proxy`, over the one of the environment, or straight. Redirects are
 * answers and never followed, because the key and the prompt would be sent along. Nothing limits the time but `init.signal`, which closes the
 * connection in every phase. The promise rejects as undici or `fetch` reject, and with an OrchestratorError where headers could not be made.
 */
export function createVendorTransport(settings: AdapterSettings, environment: NodeJS.ProcessEnv = process.env): VendorTransport {
  const { id, fetch: ownFetch, proxy } = settings
  const secrets = [...secretsOf(settings)]
  const ownRoute = proxy === undefined ? undefined : toRoute(toProxyUrl(proxy, `providers.${id}.proxy`))
  const routes = new Map<string, Route>()

  function routeOf(url: URL): Route {
    if (ownRoute) return ownRoute
    const known = routes.get(url.origin)
    if (known) return known
    const found = findEnvironmentProxy(url, environment)
    const route = found ? toRoute(found) : direct
    routes.set(url.origin, route)
    return route
  }

  const send: VendorFetch = ownFetch
    ? (input, init) =>
        // A copy of the headers: the caller's code may add to them, and an adapter gives the same ones every time.
        ownFetch(input, {
          ...init,
          headers: new Headers(init?.headers),
          redirect: 'manual',
          signal: toWholeSignal(init?.signal),
        }).then((response) => (response.ok ? response : withBoundedBody(response)))
    : (input, init) => {
        const url = new URL(input instanceof Request ? input.url : input)
        return exchange(url, init, routeOf(url))
      }
  const headers = typeof settings.headers === 'function' ? createHeadersSource(id, settings.headers, secrets) : undefined
  return { secrets, fetch: headers ? withHeaders(send, headers) : send }
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

/** The body of an error, cut to what `readText` takes of it. */
async function withBoundedBody(response: Response): Promise<Response> {
  const { statusText, headers } = response
  const text = await readText(response)
  const status = Math.max(Math.min(response.status, 599), 200)
  return new Response([204, 205, 304].includes(status) ? null : text, { status, statusText, headers })
}

const headerLists = new WeakMap<Headers, string[]>()

/**
 * Names and values in turn, as undici takes them without looking anything up. An adapter whose requests all have the same headers gives the same
 * object every time and leaves it as it is.
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
  // Some firewalls turn requests without it away.
  if (!hasAgent) list.push('user-agent', 'polyphony')
  return list
}

function toRoute(proxy: URL): Route {
  const known = proxied.get(proxy.href)
  if (known) return known
  const { username, password } = proxy
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  const route: Route = {
    proxy: shownProxy(proxy),
    dispatcher: new ProxyAgent({
      ...TIMEOUTS,
      uri: `${proxy.origin}/`,
      ...(username && { token: `Basic ${Buffer.from(credentials).toString('base64')}` }),
      // Requests without TLS are handed to the proxy as they are: many proxies open tunnels to port 443 only.
      proxyTunnel: false,
    }),
  }
  proxied.set(proxy.href, route)
  return route
}
