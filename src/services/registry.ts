import type { Clock } from '../async/clock.ts'
import type { NewEvent } from '../domain/event.ts'
import type { ServiceFigures } from '../domain/services/service-figures.ts'
import { type ServiceDefinition, serviceSchema } from '../domain/services/service-schema.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { BodyDeps } from './bodies.ts'
import { createEntryCalls } from './calls/entry-calls.ts'
import type { CallService } from './calls/service-calls.ts'
import { createElsewhere, type SharedServices } from './elsewhere/elsewhere.ts'
import { createEntries, type EntriesDeps } from './entries.ts'
import { createLeftRuns } from './left-runs.ts'
import { isAtRest } from './machine/returning.ts'
import { serviceExists, serviceInvalid, serviceNotFound } from './problems.ts'
import { type AllowedPrograms, assertAllowedProgram } from './process/allowed-programs.ts'
import { createProviderCalls, type ProviderCalls } from './provider-calls.ts'
import { reloadServices } from './reload.ts'
import { toFigures, toReport } from './report.ts'
import { findServiceOfRun } from './run-tokens.ts'
import type { LogLine, ServiceInput, Services } from './service.ts'
import type { ServiceEntry } from './service-entry.ts'
import { createServiceEvents, type PublishEvent } from './service-events.ts'
import { createDependencies } from './starting/dependencies.ts'
import { assertFits, findNeeded, isNeeded } from './starting/needed-services.ts'
import { createSlots, type SlotLimits } from './starting/slots.ts'

export interface ServiceRegistryDeps extends Omit<BodyDeps, 'contextOf' | 'findLeftRun' | 'healthEnabled' | 'serverUrl'> {
  readonly defaults: EntriesDeps['defaults'] & SlotLimits
  readonly call: CallService
  /** Reads the service files, at the start of all services. */
  readonly readFiles: () => Promise<{
    readonly services: readonly ServiceDefinition[]
    readonly problems: readonly OrchestratorError[]
  }>
  readonly publish: PublishEvent
  /**
   * Called before a service with `provider` is registered; throws SERVICE_INVALID and SERVICE_EXISTS if it cannot
   * answer steps.
   */
  readonly onProvider?: (service: ServiceDefinition) => void
  /** Called after a service with `provider` was removed. */
  readonly onProviderRemoved?: (id: string) => void
  /** Waits for the rates of the provider of a service, which hold for steps as well. */
  readonly enterRates?: (id: string, signal: AbortSignal) => Promise<() => void>
  /** Where processes learn of the services of others; absent where no other one shares the database. */
  readonly shared?: SharedServices
  /** Default: every program that the operator names. */
  readonly allowExecutables?: AllowedPrograms
  /** Whether services take slots that run nothing here: remote ones, and those of this process without code. */
  readonly countsAll?: boolean
  readonly clock: Clock
  /** Milliseconds of a clock that no one sets. */
  readonly monotonicNow: () => number
}

/** The services, and the calls of steps to them. */
export interface ServicesWithCalls extends Services {
  readonly providerCalls: ProviderCalls
  /** What is counted of every service, in the order of their registration. */
  figures(): readonly ServiceFigures[]
}

/** All services of one instance. No service starts and no timer runs before the first start. */
export function createServices(deps: ServiceRegistryDeps): ServicesWithCalls {
  const { defaults, clock, monotonicNow } = deps
  const entries = new Map<string, ServiceEntry>()
  const slots = createSlots(defaults)
  const handlers = new Set<(event: NewEvent) => unknown>()
  const events = createServiceEvents((event) => {
    deps.publish(event)
    // A handler that gives a command must find the state after this change and not in the middle of it.
    for (const handler of [...handlers]) void (async () => handler(await event))().catch(() => undefined)
  })
  const dependencies = createDependencies({ slots, find: (id) => entries.get(id), leftOf: (id) => leftRuns.stateOf(id) })
  let closing: Promise<void> | undefined
  let serverUrl: string | undefined
  let lastReload: Promise<unknown> = Promise.resolve()

  const get = (id: string): ServiceEntry => {
    const entry = entries.get(id)
    if (!entry) throw serviceNotFound(id, entries.keys())
    return entry
  }
  const shares = { entries: () => entries.values(), checkAddress: deps.rule.check, now: clock.now, monotonicNow }
  const elsewhere = deps.shared && createElsewhere({ ...deps.shared, ...shares })
  const report = (id: string) => toReport(get(id), monotonicNow(), clock.now(), elsewhere?.find(get(id)))

  const leftRuns = createLeftRuns({
    driver: deps.drivers.process,
    find: (id) => entries.get(id),
    onFound: events.left,
    onUnclaimed: events.unclaimed,
    onContinued: begin,
    onDecided: dependencies.changed,
  })
  const fromFiles = new Set<string>()
  /** The most runs that a removed service had. Its id may return, and a run number must not mean two runs. */
  let runsBefore = 0

  function assertOpen(): void {
    if (closing) throw new OrchestratorError('SERVICE_NOT_RUNNING', 'expected services that are open: they are being closed')
  }

  /** Starts a service for which no one waits. A failure that no state shows is an event of its own. */
  function begin(id: string): void {
    services.start(id).catch((error: unknown) => {
      if (!closing && entries.has(id) && entries.get(id)?.life.snapshot().model.lastError === undefined) events.failed(id, error)
    })
  }

  async function end({ id, life }: ServiceEntry, drainMs?: number): Promise<void> {
    await life.stop(drainMs)
    if (!(await leftRuns.isLeft(id)) || life.snapshot().model.state !== 'idle') return
    // A start takes over the run that an earlier supervisor left; a stop then ends it like any other.
    life.start().catch(() => undefined)
    await life.stop(drainMs)
  }

  /**
   * Starts what the service needs and does not run; each one reports its own failure. Throws SERVICE_LIMIT_REACHED if
   * they can never run at the same time.
   */
  function startDependencies(id: string): void {
    const needed = findNeeded(get(id), (other) => entries.get(other))
    assertFits(id, needed, defaults.maxConcurrent)
    for (const { id: other, life } of needed) {
      if (other !== id && isAtRest(life.snapshot().model)) life.start().catch(() => undefined)
    }
  }

  const providerCalls = createProviderCalls({
    find: (id) => entries.get(id),
    start: (id, signal) => services.start(id, { signal }),
    stop: (id) => services.stop(id),
    isNeeded: (id) => isNeeded(id, entries.values()),
    checkAddress: deps.rule.check,
    ...(elsewhere && { elsewhere }),
    clock,
    monotonicNow,
  })

  const createEntry = createEntries({
    ...deps,
    contextOf: (own) => ({
      publish: (type, data, options) => events.own(own, type, data, options?.correlationId),
      call(other, request) {
        events.message(own, other)
        return services.call(other, request)
      },
    }),
    findLeftRun: leftRuns.findOne,
    serverUrl: () => serverUrl,
    admit(service, onAdmitted, onFailed) {
      if (get(service.id).body.driver === 'process') leftRuns.decideSoon(service.id)
      return dependencies.admit(service, onAdmitted, onFailed)
    },
    onChange(id, before, model) {
      events.changed(id, before, model)
      providerCalls.changed(id, before, model)
      if (before.state === model.state) return
      dependencies.changed()
      elsewhere?.changed(id)
    },
    onLimit: events.limited,
  })

  const callEntry = createEntryCalls({ providerCalls, call: deps.call })

  const services: ServicesWithCalls = {
    providerCalls,
    figures: () => [...entries.values()].map(toFigures),
    async register(input: ServiceInput) {
      assertOpen()
      const { handlers, ...given } = { handlers: undefined, ...input }
      const parsed = serviceSchema.safeParse(given)
      if (!parsed.success) throw serviceInvalid(parsed.error.issues, given)
      const definition = parsed.data
      if (handlers && definition.executable) {
        throw new OrchestratorError('SERVICE_INVALID', `expected handlers or executable for "${definition.id}", found both`)
      }
      if (entries.has(definition.id)) throw serviceExists(definition.id, `a service has the id "${definition.id}" already`)
      assertAllowedProgram(definition, deps.allowExecutables ?? false)
      const entry = createEntry(definition, handlers, runsBefore)
      if (definition.provider) deps.onProvider?.(definition)
      entries.set(definition.id, entry)
      events.registered(definition)
      if (entry.body.driver === 'process') leftRuns.registered(definition.id)
      await elsewhere?.registered(entry)
      return report(definition.id)
    },
    async start(id, options) {
      assertOpen()
      const { life } = get(id)
      startDependencies(id)
      await life.start(options)
      return report(id)
    },
    async stop(id, { drainMs } = {}) {
      await end(get(id), drainMs)
      return report(id)
    },
    async restart(id) {
      assertOpen()
      const { life } = get(id)
      startDependencies(id)
      await life.restart()
      return report(id)
    },
    async remove(id) {
      const { body, life, definition } = get(id)
      const { run } = life.snapshot().model
      if (run !== undefined && body.driver !== 'remote') {
        throw serviceExists(id, `expected "${id}" to be stopped before it is removed`)
      }
      // Before anything is waited for: a start in between would run on without a name.
      entries.delete(id)
      runsBefore = Math.max(runsBefore, life.snapshot().model.runs)
      await life.stop(0)
      if (definition.provider) deps.onProviderRemoved?.(id)
      dependencies.changed()
    },
    get: report,
    list({ type, state } = {}) {
      return [...entries.keys()]
        .map(report)
        .filter((found) => (type === undefined || found.type === type) && (state === undefined || found.state === state))
    },
    async *logs(id, options): AsyncIterable<LogLine> {
      const { body } = get(id)
      if (body.driver === 'process' && deps.drivers.process) yield* deps.drivers.process.logs(id, options)
    },
    call: async (id, request, { signal } = {}) => callEntry(get(id), request, signal),
    heartbeat(id) {
      const { life, body } = get(id)
      assertOpen()
      if (body.driver === 'remote' || life.snapshot().model.run !== undefined) life.beat()
      return report(id)
    },
    async load() {
      const { services: found, problems } = await deps.readFiles()
      const failures = [...problems]
      for (const service of found) {
        if (fromFiles.has(service.id) && entries.has(service.id)) continue
        await services.register(service).then(
          () => fromFiles.add(service.id),
          (error: unknown) => failures.push(OrchestratorError.from(error, 'SERVICE_INVALID')),
        )
      }
      return failures
    },
    async startAll() {
      assertOpen()
      const failures = await services.load()
      for (const failure of failures) events.failed('files', failure)
      const automatic = [...entries.values()].filter(({ definition }) => definition.start === 'auto')
      const programs = [...entries.values()].flatMap(({ id, body }) => (body.driver === 'process' ? [id] : []))
      // A run without a service may belong to the file that cannot be used now.
      const known = failures.length > 0 ? programs : undefined
      const left = programs.length > 0 || known ? await leftRuns.findAll(known) : await leftRuns.endAll()
      for (const id of new Set([...left.filter((one) => entries.has(one)), ...automatic.map((entry) => entry.id)])) {
        begin(id)
      }
      await dependencies.untilSettled(() => automatic.map(({ life }) => life.snapshot().model.state), entries)
      return automatic.map(({ id }) => report(id))
    },
    onEvent(handler) {
      handlers.add(handler)
      return () => void handlers.delete(handler)
    },
    reload() {
      const reloading = lastReload.then(async () => {
        assertOpen()
        const { services: found, problems } = await deps.readFiles()
        const stateOf = (id: string) => get(id).life.snapshot().model.state
        const definitionOf = (id: string) => entries.get(id)?.definition
        return reloadServices({ services, begin, fromFiles, stateOf, definitionOf, found, problems })
      })
      lastReload = reloading.catch(() => undefined)
      return reloading
    },
    serviceOfRun: (token) => findServiceOfRun(entries.values(), token),
    announce(url) {
      serverUrl = url
    },
    close() {
      closing ??= (async () => {
        providerCalls.close()
        const all = [...entries.values()]
        await Promise.allSettled([...all.map((entry) => end(entry)), leftRuns.close()])
        // Those whose runs were found until then.
        await Promise.allSettled(all.map((entry) => end(entry)))
        await elsewhere?.close()
        await deps.drivers.process?.close()
      })()
      return closing
    },
  }
  return services
}
