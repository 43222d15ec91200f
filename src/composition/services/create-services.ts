import { resolve } from 'node:path'
import { systemClock } from '../../async/clock.ts'
import type { PolyphonyConfig } from '../../config/config.ts'
import { serviceFilesInvalid } from '../../config/services/service-file.ts'
import { readServiceFiles } from '../../config/services/service-files.ts'
import { servicesSettingsSchema } from '../../config/services/services-settings.ts'
import type { NewEvent } from '../../domain/event.ts'
import type { ServiceFigures } from '../../domain/services/service-figures.ts'
import { createServiceCalls } from '../../services/calls/service-calls.ts'
import { createInProcessDriver } from '../../services/drivers/in-process.ts'
import { createProcessDriver } from '../../services/drivers/process.ts'
import { createRemoteDriver } from '../../services/drivers/remote.ts'
import type { SharedServices } from '../../services/elsewhere/elsewhere.ts'
import { createAddressRule } from '../../services/network/address-rule.ts'
import { createPinnedRequest } from '../../services/network/pinned-request.ts'
import type { ProcessDriver } from '../../services/process-driver.ts'
import { createServices, type ServicesWithCalls } from '../../services/registry.ts'
import type { Services } from '../../services/service.ts'
import type { BackingServices } from './create-backing-services.ts'

export interface ServicesDeps {
  readonly config: Pick<PolyphonyConfig, 'services'>
  readonly publish: (event: NewEvent) => void
  readonly warn: (message: string, facts?: Readonly<Record<string, unknown>>) => void
  /** Makes providers of services. */
  readonly backing?: Pick<BackingServices, 'add' | 'remove'>
  /** What the processes of the database share about services; absent where no other one shares it. */
  readonly shared?: SharedServices
  /** Waits for the rates of the provider of a service. */
  readonly enterRates?: (id: string, signal: AbortSignal) => Promise<() => void>
}

/** The services of an instance, built at their first use. */
export interface LazyServices {
  get(): ServicesWithCalls
  /** What is counted of every service; none before the first use. */
  figures(): readonly ServiceFigures[]
  /** Registers the services of files if one of them answers steps; none starts. Problems are warnings. */
  loadProviders(): Promise<void>
  /** Ends the services of this process if there are any; a later `get` builds none. */
  close(): Promise<void>
}

export function createLazyServices(deps: ServicesDeps): LazyServices {
  let services: ServicesWithCalls | undefined
  return {
    get() {
      services ??= build(deps)
      return services
    },
    figures: () => services?.figures() ?? [],
    async loadProviders() {
      // A folder of that name may hold something else; the start of services reports what cannot be read.
      const files = await readServiceFiles(resolve(deps.config.services.dir)).catch(() => undefined)
      if (!files?.services.some(({ service }) => service.provider)) return
      services ??= build(deps)
      for (const { message } of await services.load()) deps.warn(`a service cannot be used: ${message}`)
    },
    async close() {
      await services?.close()
    },
  }
}

interface BuildOptions extends ServicesDeps {
  /** Whether services take slots that run nothing here. */
  readonly countsAll?: boolean
}

function build({
  config: { services: settings },
  publish: store,
  warn,
  backing,
  shared,
  enterRates,
  countsAll = false,
}: BuildOptions): ServicesWithCalls {
  const publish: ServicesDeps['publish'] = (event) => {
    if (event.type === 'service_error') warn('a service failed', { service: event.subject, ...toFacts(event.data) })
    else if (event.priority === 'high') warn(event.type.replaceAll('_', ' '), { service: event.subject })
    store(event)
  }
  const rule = createAddressRule({ origins: settings.registration.origins })
  const request = createPinnedRequest(rule)
  return createServices({
    defaults: settings,
    drivers: {
      inProcess: createInProcessDriver((id, error) => {
        const message = error instanceof Error ? error.message.slice(0, 500) : 'an error'
        publish({ type: 'service_error', source: 'service', subject: id, data: { serviceId: id, message }, priority: 'high' })
      }),
      remote: createRemoteDriver(rule),
      ...(process.platform !== 'win32' && { process: createPrograms(settings, publish) }),
    },
    rule,
    request,
    call: createServiceCalls(request),
    inheritedEnvironment: pickEnvironment(process.env, settings.environment.inherit),
    ownEnvironment: process.env,
    publish,
    countsAll,
    allowExecutables: settings.allowExecutables,
    ...(shared && { shared }),
    ...(enterRates && { enterRates }),
    ...(backing && { onProvider: backing.add, onProviderRemoved: backing.remove }),
    readFiles: async () => {
      const { services, problems } = await readServiceFiles(resolve(settings.dir))
      return {
        services: services.map(({ service }) => service),
        problems: problems.length === 0 ? [] : [serviceFilesInvalid(problems)],
      }
    },
    clock: systemClock,
    monotonicNow: () => performance.now(),
  })
}

/** Code and message of a failure, for the log. */
function toFacts(data: unknown): Readonly<Record<string, unknown>> {
  if (typeof data !== 'object' || data === null) return {}
  const { code, message } = { code: undefined, message: undefined, ...data }
  return { code, message }
}

/** The driver of programs. It takes the lock of its folder at the first start and not before. */
function createPrograms(settings: PolyphonyConfig['services'], publish: ServicesDeps['publish']): ProcessDriver {
  const { dataDir, logDir, logs, memoryHardFactor } = settings
  return createProcessDriver({
    dataDir: resolve(dataDir),
    ...(logDir !== undefined && { logDir: resolve(logDir) }),
    logs,
    memoryHardFactor,
    onLogDropped: ({ id, bytes }) =>
      publish({ type: 'service_log_dropped', source: 'service', subject: id, data: { serviceId: id, bytes }, priority: 'high' }),
  })
}

/** Variables whose names are listed; `LC_*` means every name that begins with `LC_`. */
function pickEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  names: readonly string[],
): Readonly<Record<string, string>> {
  const isListed = (name: string) =>
    names.some((listed) => (listed.endsWith('*') ? name.startsWith(listed.slice(0, -1)) : name === listed))
  return Object.fromEntries(
    Object.entries(environment).flatMap(([name, value]) => (value !== undefined && isListed(name) ? [[name, value]] : [])),
  )
}

/** An operation that failed is repeated soon, because a caller waits for it. */
const ORCHESTRA_DELAY_MS = 200

/** Services without a configuration file, for the facade `Orchestra`. */
export function createOrchestraServices({
  maxConcurrent,
  maxRetries,
}: {
  readonly maxConcurrent: number
  readonly maxRetries: number
}): Services {
  const settings = servicesSettingsSchema.parse({
    maxConcurrent,
    startConcurrency: maxConcurrent,
    restart: { maxRetries, delayMs: ORCHESTRA_DELAY_MS },
  })
  return build({ config: { services: settings }, publish: () => undefined, warn: () => undefined, countsAll: true })
}
