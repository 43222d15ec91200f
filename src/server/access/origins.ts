import type { IncomingHttpHeaders } from 'node:http'
import type { ServerSettings } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

export interface OriginCheck {
  /**
   * Throws HOST_REFUSED for a Host that is none of the server's (DNS rebinding), ORIGIN_REFUSED for a page that is not allowed. Asked before anything
   * else of a request is read, upgrades included.
   */
  assertAllowed(headers: IncomingHttpHeaders): void
  isAllowedOrigin(origin: string): boolean
}

type OriginSettings = Pick<ServerSettings, 'host' | 'publicUrl' | 'allowedHosts' | 'corsOrigins'>

/** No page of another machine can have these names. */
const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]']

/** Whether the address is one of this machine's own, which nobody else can reach. */
export const isLoopbackHost = (host: string): boolean =>
  host === 'localhost' || host === '::1' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host)

export function createOriginCheck(settings: OriginSettings): OriginCheck {
  const { host, publicUrl, allowedHosts, corsOrigins } = settings
  const hosts = new Set([host, ...LOOPBACK_NAMES, ...allowedHosts].map((name) => toHostName(name) ?? name.toLowerCase()))
  const publicHost = publicUrl === undefined ? undefined : new URL(publicUrl).hostname
  if (publicHost !== undefined) hosts.add(publicHost)
  const origins = new Set(corsOrigins)
  if (publicUrl !== undefined) origins.add(new URL(publicUrl).origin)

  /** The page came from this server itself, under a name that is its own. */
  const isSameOrigin = (origin: string, requestHost: string): boolean =>
    URL.canParse(origin) && new URL(origin).host === requestHost.toLowerCase() && /^https?:$/.test(new URL(origin).protocol)

  return {
    assertAllowed(headers) {
      const name = headers.host === undefined ? undefined : toHostName(headers.host)
      if (name === undefined || !hosts.has(name)) {
        throw new OrchestratorError('HOST_REFUSED', 'The Host header names no address of this server')
      }
      const { origin } = headers
      if (origin !== undefined) {
        if (origins.has(origin) || isSameOrigin(origin, headers.host ?? '')) return
        throw new OrchestratorError('ORIGIN_REFUSED', 'Pages of this origin may not call the server')
      }
      // Browsers send no Origin with plain GETs; this header they always send, and no page can set it.
      if (headers['sec-fetch-site'] === 'cross-site' || headers['sec-fetch-site'] === 'same-site') {
        throw new OrchestratorError('ORIGIN_REFUSED', 'Pages of another site may not call the server')
      }
    },
    isAllowedOrigin: (origin) => origins.has(origin),
  }
}

/** The name in a Host header, as URLs write it; `undefined` for anything that is no host. */
function toHostName(header: string): string | undefined {
  if (!/^[a-z0-9.:[\]-]{1,255}$/i.test(header) || !URL.canParse(`http://${header}`)) return undefined
  return new URL(`http://${header}`).hostname
}
