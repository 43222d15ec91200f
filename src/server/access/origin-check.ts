import type { IncomingMessage } from 'node:http'
import { isIPv4, isIPv6 } from 'node:net'
import type { ServerSettings } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** Protects a server that browsers can reach. Implemented by createOriginCheck. */
export interface OriginCheck {
  /**
   * Throws HOST_REFUSED for a Host header that does not name this server (DNS rebinding), ORIGIN_REFUSED for a page
   * that is not allowed. Called before anything else of a request is read, upgrade requests included. `page`: the
   * route is a page that links on other sites may lead to.
   */
  assertAllowed(request: RequestOrigin, route?: { readonly page?: boolean }): void
  isAllowedOrigin(origin: string): boolean
}

/** The parts of a request that state its origin and its target host. */
export type RequestOrigin = Pick<IncomingMessage, 'headers' | 'method' | 'rawHeaders' | 'url'>

type OriginSettings = Pick<ServerSettings, 'host' | 'publicUrl' | 'allowedHosts' | 'corsOrigins'>

/** Host names that a page of another machine cannot have. */
const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]']

/** Whether the address is a loopback address, which other machines cannot reach. */
export const isLoopbackHost = (host: string): boolean =>
  host === 'localhost' || host === '::1' || host === '[::1]' || (isIPv4(host) && host.startsWith('127.'))

export function createOriginCheck(settings: OriginSettings): OriginCheck {
  const { host, publicUrl, allowedHosts, corsOrigins } = settings
  const hosts = new Set(
    [host, ...LOOPBACK_NAMES, ...allowedHosts].map((name) => toHostName(isIPv6(name) ? `[${name}]` : name) ?? name.toLowerCase()),
  )
  const publicAddress = publicUrl === undefined ? undefined : new URL(publicUrl)
  if (publicAddress) hosts.add(publicAddress.hostname)
  const origins = new Set(corsOrigins)
  if (publicAddress) origins.add(publicAddress.origin)

  const secureHost = publicAddress?.protocol === 'https:' ? publicAddress.hostname : undefined

  /**
   * Whether the page was served by this server. The server itself speaks plain HTTP, so a page with an http origin is
   * not its own when the public address is an https one.
   */
  const isSameOrigin = (origin: string, requestHost: string, name: string): boolean =>
    name !== secureHost && origin === toOrigin(requestHost)

  return {
    assertAllowed({ headers, method, rawHeaders, url = '' }, { page = false } = {}) {
      const { host: requestHost = '', origin, 'sec-fetch-site': site } = headers
      const name = toHostName(requestHost)
      if (name === undefined || !hosts.has(name) || countOf(rawHeaders, 'host') > 1 || namesOtherHost(url, requestHost)) {
        throw new OrchestratorError('HOST_REFUSED', 'The Host header does not name an address of this server')
      }
      if (origin !== undefined) {
        if (origins.has(origin) || isSameOrigin(origin, requestHost, name)) return
        throw new OrchestratorError('ORIGIN_REFUSED', 'Pages of this origin may not call the server')
      }
      // Browsers send no Origin header with plain GET requests. They always send this header, and pages cannot set it.
      if (site !== undefined && site !== 'same-origin' && site !== 'none' && !(page && isNavigation(method, headers))) {
        throw new OrchestratorError('ORIGIN_REFUSED', 'Pages of another site may not call the server')
      }
    },
    isAllowedOrigin: (origin) => origins.has(origin),
  }
}

/**
 * Whether a person navigated to the address: the page with the link cannot read the answer. False for forms that post,
 * for frames, and for requests of scripts and styles.
 */
const isNavigation = (method: string | undefined, headers: IncomingMessage['headers']): boolean =>
  (method === 'GET' || method === 'HEAD') && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document'

/** How often a header was sent: Node shows some headers once although they were sent twice. */
const countOf = (rawHeaders: readonly string[], name: string): number =>
  rawHeaders.filter((text, index) => index % 2 === 0 && text.toLowerCase() === name).length

/**
 * Whether the request target is an absolute URL of another host. Its host takes precedence over the Host header (RFC
 * 9112, 3.2.2).
 */
const namesOtherHost = (target: string, host: string): boolean =>
  !target.startsWith('/') && target !== '*' && !target.toLowerCase().startsWith(`http://${host.toLowerCase()}/`)

const toOrigin = (host: string): string => new URL(`http://${host}`).origin

/** The name in a Host header in the form of URLs; undefined for an invalid header. */
function toHostName(header: string): string | undefined {
  if (!/^[a-z0-9.:[\]-]{1,255}$/i.test(header) || !URL.canParse(`http://${header}`)) return undefined
  return new URL(`http://${header}`).hostname
}
