import type { ServerSettings } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { isLoopbackHost } from './origin-check.ts'

type DoorSettings = Pick<ServerSettings, 'host' | 'publicUrl' | 'trustProxy' | 'allowedHosts'>

/**
 * The setting by which others than this machine reach the server: an address that they can reach, or a proxy, to which everybody looks like this
 * machine. `undefined` where there is none.
 */
export function findExposure({ host, publicUrl, trustProxy, allowedHosts }: DoorSettings): keyof DoorSettings | undefined {
  if (!isLoopbackHost(host)) return 'host'
  if (publicUrl !== undefined && !isLoopbackHost(new URL(publicUrl).hostname)) return 'publicUrl'
  // A name that others know this server by: somebody hands their requests on.
  if (!allowedHosts.every(isLoopbackHost)) return 'allowedHosts'
  return trustProxy ? 'trustProxy' : undefined
}

/** Without keys whoever reaches the server is the local user: then only this machine may reach it. Throws CONFIG_INVALID. */
export function assertNotExposed(settings: DoorSettings): void {
  const name = findExposure(settings)
  if (name === undefined) return
  const expected = name === 'host' ? 'an address of this machine such as 127.0.0.1' : 'no proxy that lets others in'
  throw new OrchestratorError(
    'CONFIG_INVALID',
    `server.${name}: expected ${expected} as long as there are no keys, found "${settings[name]}". Make one with \`polyphony keys create\`, or configure server.jwt`,
    { details: { key: `server.${name}` } },
  )
}
