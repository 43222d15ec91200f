import type { ServerSettings } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { isLoopbackHost } from './origin-check.ts'

type ExposureSettings = Pick<ServerSettings, 'host' | 'publicUrl' | 'trustProxy' | 'allowedHosts'>

/**
 * The setting that makes the server reachable from other machines: an address that is not loopback, or a proxy, whose
 * clients all appear to be on this machine. Undefined when only this machine can reach it.
 */
export function findExposure({
  host,
  publicUrl,
  trustProxy,
  allowedHosts,
}: ExposureSettings): keyof ExposureSettings | undefined {
  if (!isLoopbackHost(host)) return 'host'
  if (publicUrl !== undefined && !isLoopbackHost(new URL(publicUrl).hostname)) return 'publicUrl'
  // A host name that is not loopback means that a proxy forwards requests to this server.
  if (!allowedHosts.every(isLoopbackHost)) return 'allowedHosts'
  return trustProxy ? 'trustProxy' : undefined
}

/** Must be called before a server without keys listens: every client is the local user then. Throws CONFIG_INVALID. */
export function assertNotExposed(settings: ExposureSettings): void {
  const name = findExposure(settings)
  if (name === undefined) return
  const expected = name === 'host' ? 'a loopback address such as 127.0.0.1' : 'a server that only this machine can reach'
  throw new OrchestratorError(
    'CONFIG_INVALID',
    `server.${name}: expected ${expected} as long as there are no keys, found "${settings[name]}". Create one with \`polyphony keys create\`, or set server.apiKey or server.jwt`,
    { details: { key: `server.${name}` } },
  )
}
