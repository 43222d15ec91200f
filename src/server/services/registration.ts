import type { FastifyRequest } from 'fastify'
import type { PolyphonyConfig } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { SeedRegistration, ServiceRegistration } from '../../protocol/service.ts'
import type { ServiceReport, Services } from '../../services/service.ts'
import type { Caller } from '../access/caller.ts'

/** Names under which a request might name a program, its arguments or its surroundings; letters and digits only. */
const PROGRAM_NAMES: ReadonlySet<string> = new Set([
  'executable',
  'executables',
  'allowexecutables',
  'exec',
  'execpath',
  'executablepath',
  'command',
  'commands',
  'commandline',
  'cmd',
  'cmdline',
  'program',
  'binary',
  'bin',
  'script',
  'entrypoint',
  'shell',
  'spawn',
  'run',
  'start',
  'startcommand',
  'arg',
  'args',
  'argv',
  'arguments',
  'interpreter',
  'image',
  'cwd',
  'workdir',
  'workingdirectory',
  'env',
  'environment',
  'passenvironment',
  'stopsignal',
  'orphans',
])

/** Data that a service keeps and that nothing executes. */
const INERT: ReadonlySet<string> = new Set(['metadata', 'config'])
const MAX_LEVELS = 5

/**
 * Throws SERVICE_EXECUTABLE_REFUSED if a request names a program in any spelling of such a field. Called before the
 * body is validated, so that the refusal does not depend on the rest of it.
 */
export const refusePrograms = async ({ body }: Pick<FastifyRequest, 'body'>): Promise<void> => refuseExecutables(body, 0)

function refuseExecutables(body: unknown, level: number): void {
  if (typeof body !== 'object' || body === null || level > MAX_LEVELS) return
  for (const [name, value] of Object.entries(body)) {
    const plain = name
      .normalize('NFKC')
      .toLowerCase()
      .replaceAll(/[^a-z0-9]/g, '')
    if (PROGRAM_NAMES.has(plain) && !(plain === 'start' && typeof value !== 'object')) {
      throw new OrchestratorError(
        'SERVICE_EXECUTABLE_REFUSED',
        `${JSON.stringify(name.slice(0, 100))}: expected a service that runs already, because a request must not name a program`,
        { details: { field: name.slice(0, 100) } },
      )
    }
    if (!INERT.has(name)) refuseExecutables(value, level + 1)
  }
}

/** A registration in snake case in the canonical form. */
export const fromSeed = ({ health_endpoint: url, api_endpoint: endpoint, ...rest }: SeedRegistration): ServiceRegistration => ({
  ...rest,
  ...(endpoint !== undefined && { endpoint }),
  ...(url !== undefined && { health: { url } }),
})

/** Throws PERMISSION_DENIED when the token of a run is used for another service than that of the run. */
export function assertOwnService({ serviceId }: Caller, id: string): void {
  if (serviceId === undefined || serviceId === id) return
  throw new OrchestratorError('PERMISSION_DENIED', `This token is for the service "${serviceId}" only`, {
    details: { service: serviceId },
  })
}

/** Milliseconds that a registration waits for the first probe, so that its answer reports the outcome. */
const FIRST_PROBE_MS = 1_000

export interface RegistrationDeps {
  readonly services: Services
  readonly config: Pick<PolyphonyConfig, 'services'>
}

/**
 * Registers a service that another program runs, and uses it from now on. Rejects with SERVICE_ADDRESS_REFUSED for an
 * address that is not allowed, with PERMISSION_DENIED where the configuration accepts no registrations, and with
 * SERVICE_LIMIT_REACHED where there are too many; nothing is registered then.
 */
export async function registerRemote(
  { services, config: { services: settings } }: RegistrationDeps,
  caller: Caller,
  registration: ServiceRegistration,
): Promise<{ readonly report: ServiceReport; readonly isNew: boolean }> {
  // A process under supervision exists already: its announcement is a sign of life.
  if (caller.serviceId !== undefined) return { report: services.heartbeat(registration.id), isNew: false }
  const { accept, leaseMs, max } = settings.registration
  if (accept === 'off') {
    throw new OrchestratorError('PERMISSION_DENIED', 'expected a service file, because services.registration is off')
  }
  const { health, type = 'agent' } = registration
  const endpoint = registration.endpoint ?? originOf(health?.url)
  const remotes = services.list().filter(({ driver }) => driver === 'remote')
  const known = remotes.find(({ id }) => id === registration.id)
  // A program that was started again announces itself once more.
  if (known && known.endpoint === endpoint) {
    return { report: services.heartbeat(known.id), isNew: false }
  }
  if (!known && remotes.length >= max) {
    const message = `expected at most ${max} registered services (services.registration.max), found ${remotes.length}`
    throw new OrchestratorError('SERVICE_LIMIT_REACHED', message, { details: { limit: max } })
  }
  // Without a probe only heartbeats show that the program lives.
  const lease = health?.url === undefined ? { leaseMs } : {}
  await services.register({ ...lease, ...registration, type, endpoint })
  // A service that does not answer yet is registered nevertheless; its state says so.
  const report = await services.start(registration.id, { waitMs: FIRST_PROBE_MS }).catch(() => services.get(registration.id))
  return { report, isNew: true }
}

/** The endpoint of a service that is known by its health address only. */
function originOf(url: string | undefined): string {
  if (url === undefined) {
    throw new OrchestratorError('SERVICE_INVALID', 'endpoint: expected an address at which the service runs, found nothing')
  }
  return URL.canParse(url) ? new URL(url).origin : url
}
