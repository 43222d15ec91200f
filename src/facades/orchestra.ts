import * as z from 'zod'
import { LOG_LEVELS, type Logger } from '../config/config-schema.ts'
import { createLogger } from '../config/logger.ts'
import type { NewEvent } from '../domain/event.ts'
import type { ServiceConfig } from '../domain/services/service-config.ts'
import type { ServiceType } from '../domain/services/service-definition.ts'
import type { ServiceState } from '../domain/services/service-state.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { ServiceAnswer, ServiceInput, ServiceReport, ServiceRequest, Services } from '../services/service.ts'
import { parseSettings } from './parse-settings.ts'

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null

const optionsSchema = z.strictObject({
  /** Services that run at the same time; default 100. */
  maxConcurrentServices: z.number().int().min(1).default(100),
  /** Further attempts after a start or a run that failed; default 3. */
  retryAttempts: z.number().int().min(0).max(1_000_000).default(3),
  /** Least severe level that is logged; default `warn`. */
  logLevel: z.enum(LOG_LEVELS).default('warn'),
  /** Receives log lines; default: JSON lines on standard error. */
  logger: z.custom<Logger>(isObject, 'expected a logger').optional(),
  /** Whether calls and starts are counted and timed; default true. */
  enableMetrics: z.boolean().default(true),
  /** What a start does while `maxConcurrentServices` run: `refuse`, the default, or `wait`. */
  whenFull: z.enum(['refuse', 'wait']).default('refuse'),
  /**
   * An instance whose services are used, such as one of `createPolyphony`; it keeps its own limits on services.
   * Default: services of this orchestra alone.
   */
  polyphony: z.custom<{ readonly services: Services }>(isObject, 'expected a Polyphony').optional(),
})

/** Settings of an `Orchestra`, all optional. */
export type OrchestraOptions = Readonly<z.input<typeof optionsSchema>>

/** Settings that an orchestra has of its own; milliseconds. */
export interface OrchestraSettings {
  readonly maxConcurrent: number
  readonly maxRetries: number
}

/** What an orchestra needs to build services of its own. Implemented by `facades/main.ts`. */
export type CreateOrchestraServices = (settings: OrchestraSettings) => Services

type OrchestraService<Type extends ServiceType> = Omit<ServiceInput, 'type' | 'config'> & {
  readonly type: Type
  readonly config?: ServiceConfig<Type>
}
/** A service with the settings of its type. */
export type OrchestraServiceInput = { [Type in ServiceType]: OrchestraService<Type> }[ServiceType]

/** What a handler of an orchestra receives. */
export interface OrchestraEvent {
  readonly serviceId: string
  /** What the event is about, such as `from` and `to` of a state. */
  readonly data: unknown
  /** Set for `error`. */
  readonly error?: { readonly code: string; readonly message: string }
  readonly timestamp: Date
}

export interface OrchestraMetrics {
  readonly enabled: boolean
  readonly services: number
  readonly byState: Readonly<Partial<Record<ServiceState, number>>>
  readonly starts: number
  readonly restarts: number
  readonly errors: number
  readonly calls: number
  readonly failedCalls: number
  /** Mean milliseconds of the calls; 0 without one. */
  readonly averageCallMs: number
}

type OrchestraHandler = (event: OrchestraEvent) => unknown

/** States in which a service needs one of `maxConcurrentServices`. */
const ACTIVE: ReadonlySet<ServiceState> = new Set<ServiceState>(['waiting', 'starting', 'running', 'degraded', 'stopping'])

/** Manages services of this process; `Orchestra` of the package is this with its services built. */
export class ServiceOrchestra {
  readonly #services: Services
  readonly #options: z.output<typeof optionsSchema>
  readonly #logger: Logger
  readonly #stopEvents: () => void
  /** Ids of what each service needs, as far as it was registered here. */
  readonly #dependencies = new Map<string, readonly string[]>()
  readonly #handlers = new Map<string, Set<OrchestraHandler>>()
  readonly #counts = { starts: 0, errors: 0, calls: 0, failedCalls: 0, callMs: 0 }

  constructor(options: OrchestraOptions, createServices: CreateOrchestraServices) {
    this.#options = parseSettings(optionsSchema, options, 'Orchestra')
    const { maxConcurrentServices, retryAttempts, logger, logLevel, polyphony } = this.#options
    this.#logger = createLogger(logger, logLevel)
    const settings = { maxConcurrent: maxConcurrentServices, maxRetries: retryAttempts }
    this.#services = polyphony?.services ?? createServices(settings)
    this.#stopEvents = this.#services.onEvent((event) => this.#publish(event))
  }

  /** Registers a service, which runs nothing yet. Rejects with SERVICE_EXISTS and SERVICE_INVALID. */
  async registerService(service: OrchestraServiceInput): Promise<ServiceReport> {
    const report = await this.#services.register(service)
    this.#dependencies.set(report.id, service.dependsOn ?? [])
    return report
  }

  /**
   * Resolves when the service runs. Rejects with SERVICE_LIMIT_REACHED if it and what it depends on would make more
   * than `maxConcurrentServices` run, unless `whenFull` is `wait`, and with the reason of a start that failed.
   */
  async startService(id: string): Promise<ServiceReport> {
    const { state } = this.#services.get(id)
    if (this.#options.whenFull === 'refuse' && !ACTIVE.has(state)) this.#assertRoom(id)
    this.#count('starts')
    return this.#services.start(id)
  }

  /** Resolves when nothing of the service runs: calls in flight have ended, then its `stop` handler. */
  stopService(id: string): Promise<ServiceReport> {
    return this.#services.stop(id)
  }

  restartService(id: string): Promise<ServiceReport> {
    this.#count('starts')
    return this.#services.restart(id)
  }

  /** The state of a service, such as `idle` or `running`. Throws SERVICE_NOT_FOUND. */
  getServiceStatus(id: string): ServiceState {
    return this.#services.get(id).state
  }

  getService(id: string): ServiceReport {
    return this.#services.get(id)
  }

  listServices(filter?: { readonly type?: ServiceType; readonly state?: ServiceState }): readonly ServiceReport[] {
    return this.#services.list(filter)
  }

  /** Sends a message to a service that runs and resolves with its answer. */
  async send(id: string, message: ServiceRequest | string): Promise<ServiceAnswer> {
    const startedMs = performance.now()
    this.#count('calls')
    try {
      return await this.#services.call(id, typeof message === 'string' ? { prompt: message } : message)
    } catch (error) {
      this.#count('failedCalls')
      throw error
    } finally {
      if (this.#isMeasured) this.#counts.callMs += performance.now() - startedMs
    }
  }

  getMetrics(): OrchestraMetrics {
    const services = this.#services.list()
    const byState: Partial<Record<ServiceState, number>> = {}
    for (const { state } of services) byState[state] = (byState[state] ?? 0) + 1
    const { callMs, ...counts } = this.#counts
    return {
      enabled: this.#isMeasured,
      services: services.length,
      byState,
      restarts: services.reduce((sum, { restarts }) => sum + restarts, 0),
      ...counts,
      averageCallMs: counts.calls === 0 ? 0 : callMs / counts.calls,
    }
  }

  /**
   * Calls the handler for every event of a type, such as `service-registered`, `service-state` or `error`. Throws
   * CONFIG_INVALID for a handler that cannot be called.
   */
  on(type: string, handler: OrchestraHandler): this {
    if (typeof handler !== 'function') {
      throw new OrchestratorError('CONFIG_INVALID', `on: expected a function for "${type}", found ${typeof handler}`)
    }
    const handlers = this.#handlers.get(type) ?? new Set()
    this.#handlers.set(type, handlers.add(handler))
    return this
  }

  off(type: string, handler: OrchestraHandler): this {
    this.#handlers.get(type)?.delete(handler)
    return this
  }

  /** Stops all services of this orchestra; those of a given `polyphony` continue. */
  async close(): Promise<void> {
    if (!this.#options.polyphony) await this.#services.close()
    this.#stopEvents()
  }

  get #isMeasured(): boolean {
    return this.#options.enableMetrics
  }

  /** A service that waits for a slot while its dependencies hold the last ones would wait for ever. */
  #assertRoom(id: string): void {
    const activeIds = new Set(this.#services.list().flatMap((service) => (ACTIVE.has(service.state) ? [service.id] : [])))
    const starting = new Set([id])
    for (const one of starting) {
      for (const needed of this.#dependencies.get(one) ?? []) if (!activeIds.has(needed)) starting.add(needed)
    }
    const active = activeIds.size
    const limit = this.#options.maxConcurrentServices
    if (active + starting.size <= limit) return
    throw new OrchestratorError(
      'SERVICE_LIMIT_REACHED',
      `expected at most ${limit} running services, found ${active} and a start of ${[...starting].join(', ')}`,
      { details: { service: id, limit, active, starting: [...starting] } },
    )
  }

  #count(name: 'starts' | 'errors' | 'calls' | 'failedCalls'): void {
    if (this.#isMeasured) this.#counts[name]++
  }

  #publish({ type, subject = '', data }: NewEvent): void {
    const error = type === 'service_error' ? toError(data) : undefined
    if (error) {
      this.#count('errors')
      this.#logger.error('a service failed', { service: subject, code: error.code })
    } else this.#logger.info(type.replaceAll('_', ' '), { service: subject })
    const event: OrchestraEvent = { serviceId: subject, data, timestamp: new Date(), ...(error && { error }) }
    this.#emit(error ? 'error' : type.replaceAll('_', '-'), event)
  }

  /** An event without a handler is dropped; the error of a handler reaches no service and no other handler. */
  #emit(type: string, event: OrchestraEvent): void {
    for (const handler of [...(this.#handlers.get(type) ?? [])]) {
      void (async () => handler(event))().catch(() => this.#logger.warn('a handler of an event failed', { type }))
    }
  }
}

function toError(data: unknown): { readonly code: string; readonly message: string } {
  const { code = 'INTERNAL', message = '' } =
    typeof data === 'object' && data !== null ? { code: undefined, message: undefined, ...data } : {}
  return { code: String(code), message: String(message) }
}
