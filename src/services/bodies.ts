import { createHash } from 'node:crypto'
import { resolve } from 'node:path'
import { fillPlaceholders, type PlaceholderValues } from '../domain/services/placeholders.ts'
import type { ServiceProcess } from '../domain/services/service-definition.ts'
import type { ServiceDefinition } from '../domain/services/service-schema.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { InProcessStart } from './drivers/in-process.ts'
import type { RemoteStart } from './drivers/remote.ts'
import type { AddressRule } from './network/address-rule.ts'
import type { PinnedRequest } from './network/pinned-request.ts'
import { createHandlerProbe, createHttpProbe, createTcpProbe, type Probe } from './network/probes.ts'
import { remoteAdvertised } from './problems.ts'
import type { ProcessDriver } from './process-driver.ts'
import type { InProcessContext, InProcessService } from './service.ts'
import type { RunStart, ServiceDriver, ServiceRun } from './service-driver.ts'

/** What the lives of services start, by the kind of their driver. */
export interface Drivers {
  readonly inProcess: ServiceDriver<InProcessStart>
  readonly remote: ServiceDriver<RemoteStart>
  /** Absent where no programs can be started. */
  readonly process?: ProcessDriver
}

export interface BodyDeps {
  readonly drivers: Drivers
  readonly rule: AddressRule
  readonly request: PinnedRequest
  readonly healthEnabled: boolean
  /** Variables that every process gets from this one. */
  readonly inheritedEnvironment: Readonly<Record<string, string>>
  /** All variables of this process, for `passEnvironment`. */
  readonly ownEnvironment: Readonly<Record<string, string | undefined>>
  readonly contextOf: (id: string) => Omit<InProcessContext, 'signal'>
  /** Address of the server of this process, once it listens. */
  readonly serverUrl: () => string | undefined
  /** Runs of an earlier supervisor, found once before the first program starts. */
  readonly findLeftRun: (id: string) => Promise<{ readonly run: ServiceRun; readonly port?: number } | undefined>
}

/** How one service is started, asked for its health, and called. */
export interface ServiceBody {
  readonly driver: 'process' | 'remote' | 'in_process'
  readonly startRun: (run: RunStart) => Promise<ServiceRun>
  readonly probe?: Probe
  /** Address of the service while its port is known. */
  endpoint(): string | undefined
  /** Address for other machines while its port is known; absent without `advertise`. */
  advertised(): string | undefined
}

export function createBody(service: ServiceDefinition, handlers: InProcessService | undefined, deps: BodyDeps): ServiceBody {
  if (service.executable) return processBody(service, service.executable, deps)
  if (handlers === undefined && service.endpoint !== undefined) return remoteBody(service, deps)
  return inProcessBody(service, handlers ?? {}, deps)
}

function inProcessBody(service: ServiceDefinition, handlers: InProcessService, deps: BodyDeps): ServiceBody {
  const { id } = service
  // A handler may use `this`, as methods of a class do.
  const probe = handlers.health
    ? createHandlerProbe((signal) => handlers.health?.(signal))
    : addressProbe(service, deps, () => ({ id }))
  return {
    driver: 'in_process',
    startRun: (run) => deps.drivers.inProcess.start({ id, handlers, context: deps.contextOf(id) }, run),
    ...(probe && deps.healthEnabled && { probe }),
    endpoint: () => service.endpoint,
    advertised: () => toAdvertised(service, { id }),
  }
}

function remoteBody(service: ServiceDefinition, deps: BodyDeps): ServiceBody {
  const { id } = service
  if (service.advertise !== undefined) throw remoteAdvertised(id)
  const endpoint = fillPlaceholders(service.endpoint ?? '', { id })
  const probe = addressProbe(service, deps, () => ({ id, endpoint }))
  const url = service.health?.url
  const addresses = [endpoint, ...(url === undefined ? [] : [fillPlaceholders(url, { id, endpoint })])]
  for (const address of addresses) deps.rule.check(address)
  return {
    driver: 'remote',
    startRun: (run) => deps.drivers.remote.start({ id, addresses }, run),
    ...(probe && deps.healthEnabled && { probe }),
    endpoint: () => endpoint,
    advertised: () => undefined,
  }
}

function processBody(service: ServiceDefinition, executable: readonly [string, ...string[]], deps: BodyDeps): ServiceBody {
  const { id } = service
  const driver = deps.drivers.process
  if (!driver) {
    throw new OrchestratorError('SERVICE_PLATFORM_UNSUPPORTED', `expected "${id}" to need no program: none can be started here`, {
      details: { service: id },
    })
  }
  let port = typeof service.port === 'number' ? service.port : undefined

  const values = (): PlaceholderValues => {
    const own = { id, ...(port !== undefined && { port }) }
    return service.endpoint === undefined ? own : { ...own, endpoint: fillPlaceholders(service.endpoint, own) }
  }
  const fill = (text: string) => fillPlaceholders(text, values())

  function toProcess(): ServiceProcess {
    const [program, ...rest] = executable
    const passed = service.passEnvironment.flatMap((name) => {
      const value = deps.ownEnvironment[name]
      return value === undefined ? [] : [[name, value] as const]
    })
    const serverUrl = deps.serverUrl()
    const own = Object.entries(service.environment).map(([name, value]) => [name, fill(value)] as const)
    return {
      id,
      command: [fill(program), ...rest.map(fill)],
      cwd: resolve(service.cwd ?? '.'),
      environment: {
        PYTHONUNBUFFERED: '1',
        ...deps.inheritedEnvironment,
        ...Object.fromEntries(passed),
        ...(port !== undefined && { PORT: String(port) }),
        ...(serverUrl !== undefined && { POLYPHONY_URL: serverUrl }),
        ...Object.fromEntries(own),
      },
      ...termsOf(service),
      limits: {
        ...(service.limits.memory !== undefined && { memoryBytes: service.limits.memory }),
        ...(service.limits.cpu !== undefined && { cpuPercent: service.limits.cpu }),
      },
      ...(port !== undefined && { port }),
    }
  }

  const probe = addressProbe(service, deps, values)
  return {
    driver: 'process',
    async startRun(run) {
      const left = await deps.findLeftRun(id)
      if (left) {
        if (left.port !== undefined) port = left.port
        return left.run
      }
      run.signal.throwIfAborted()
      if (service.port !== 'auto') return driver.start(toProcess(), run)
      const own = await driver.allocatePort()
      port = own
      try {
        const started = await driver.start(toProcess(), run)
        void started.ended.then(() => driver.releasePort(own))
        return started
      } catch (error) {
        driver.releasePort(own)
        throw error
      }
    },
    ...(probe && deps.healthEnabled && { probe }),
    endpoint: () => values().endpoint,
    advertised: () => toAdvertised(service, values()),
  }
}

/** The advertised host and port with the path of the endpoint; `undefined` while the port is not known. */
function toAdvertised({ advertise, endpoint }: ServiceDefinition, values: PlaceholderValues): string | undefined {
  if (advertise === undefined || endpoint === undefined) return undefined
  const [outer, own] = [fillPlaceholders(advertise, values), fillPlaceholders(endpoint, values)]
  if (!URL.canParse(outer) || !URL.canParse(own)) return undefined
  return `${new URL(outer).origin}${new URL(own).pathname.replace(/\/+$/, '')}`
}

const KILL_TIMEOUT_MS = 5_000

/** What decides about a process that outlived its supervisor. */
export const termsOf = (service: ServiceDefinition) => ({
  stopSignal: service.stop.signal ?? ('SIGTERM' as const),
  killTimeoutMs: service.stop.killTimeoutMs ?? KILL_TIMEOUT_MS,
  orphans: service.orphans,
  definitionHash: createHash('sha256').update(JSON.stringify(service)).digest('hex'),
})

/** A probe of the address in `health`; the port may be another one in every run. */
function addressProbe(
  service: ServiceDefinition,
  { request, rule }: BodyDeps,
  values: () => PlaceholderValues,
): Probe | undefined {
  const { url, tcp } = service.health ?? {}
  if (url !== undefined) return (signal) => createHttpProbe(fillPlaceholders(url, values()), request)(signal)
  if (tcp !== undefined) return (signal) => createTcpProbe(fillPlaceholders(tcp, values()), rule)(signal)
  return undefined
}
