import type { IncomingMessage } from 'node:http'
import { isIPv4, isIPv6 } from 'node:net'
import type { ServerSettings } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

export interface OriginCheck {
  /**
   * Throws HOST_REFUSED for a Host that is none of the server's (DNS rebinding), ORIGIN_REFUSED for a page that is not allowed. Asked before anything
   * else of a request is read, upgrades included. `page`: links on other sites may lead to it.
   */
  assertAllowed(request: AskedFrom, place?: { readonly page?: boolean }): void
  isAllowedOrigin(origin: string): boolean
}

/** What a request says of where it comes from and whom it means. */
export type AskedFrom = Pick<IncomingMessage, 'headers' | 'method' | 'rawHeaders' | 'url'>

type OriginSettings = Pick<ServerSettings, 'host' | 'publicUrl' | 'allowedHosts' | 'corsOrigins'>

/** No page of another machine can have these names. */
const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]']

/** Whether the address is one of this machine's own, which nobody else can reach. */
export const isLoopbackHost = (host: string): boolean =>
  host === 'localhost' || host === '::1' || host === '[::1]' || (isIPv4(host) && host.startsWith('127.'))

export function createOriginCheck(settings: OriginSettings): OriginCheck {
  const { host, publicUrl, allowedHosts, corsOrigins } = settings
  const hosts = new Set(
    [host, ...LOOPBACK_NAMES, ...allowedHosts].map((name) => toHostName(isIPv6(name) ? `[${name}]` : name) ?? name.toLowerCase()),
  )
  const publicPlace = publicUrl === undefined ? undefined : new URL(publicUrl)
  if (publicPlace) hosts.add(publicPlace.hostname)
  const origins = new Set(corsOrigins)
  if (publicPlace) origins.add(publicPlace.origin)

  const secureHost = publicPlace?.protocol === 'https:' ? publicPlace.hostname : undefined

  /** The page came from this server itself, which speaks plain HTTP: where its public address is a secure one, such a page was not its own. */
  const isSameOrigin = (origin: string, requestHost: string, name: string): boolean =>
    name !== secureHost && origin === toOrigin(requestHost)

  return {
    assertAllowed({ headers, method, rawHeaders, url = '' }, { page = false } = {}) {
      const { host: requestHost = '', origin, 'sec-fetch-site': site } = headers
      const name = toHostName(requestHost)
      if (name === undefined || !hosts.has(name) || countOf(rawHeaders, 'host') > 1 || namesAnother(url, requestHost)) {
        throw new OrchestratorError('HOST_REFUSED', 'The Host header names no address of this server')
      }
      if (origin !== undefined) {
        if (origins.has(origin) || isSameOrigin(origin, requestHost, name)) return
        throw new OrchestratorError('ORIGIN_REFUSED', 'Pages of this origin may not call the server')
      }
      // Browsers send no Origin with plain GETs; this header they always send, and no page can set it.
      if (site !== undefined && site !== 'same-origin' && site !== 'none' && !(page && isFollowedLink(method, headers))) {
        throw new OrchestratorError('ORIGIN_REFUSED', 'Pages of another site may not call the server')
      }
    },
    isAllowedOrigin: (origin) => origins.has(origin),
  }
}

/** A person followed a link: the page that holds it sees nothing of the answer. A form that posts, a frame, and what scripts and styles load are none. */
const isFollowedLink = (method: string | undefined, headers: IncomingMessage['headers']): boolean =>
  (method === 'GET' || method === 'HEAD') && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document'

/** Headers that Node shows once although they were sent twice. */
const countOf = (rawHeaders: readonly string[], name: string): number =>
  rawHeaders.filter((text, index) => index % 2 === 0 && text.toLowerCase() === name).length

/** Proxies are asked with whole addresses, whose host counts more than the header; whoever asks so must mean the same by both. */
const namesAnother = (target: string, host: string): boolean =>
  !target.startsWith('/') && target !== '*' && !target.toLowerCase().startsWith(`http://${host.toLowerCase()}/`)

const toOrigin = (host: string): string => new URL(`http://${host}`).origin

/** The name in a Host header, as URLs write it; `undefined` for anything that is no host. */
function toHostName(header: string): string | undefined {
  if (!/^[a-z0-9.:[\]-]{1,255}$/i.test(header) || !URL.canParse(`http://${header}`)) return undefined
  return new URL(`http://${header}`).hostname
}
