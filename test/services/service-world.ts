import { systemClock } from '../../src/async/clock.ts'
import { servicesSettingsSchema } from '../../src/config/services/services-settings.ts'
import type { NewEvent } from '../../src/domain/event.ts'
import type { ServiceDefinition } from '../../src/domain/services/service-schema.ts'
import type { ServiceState } from '../../src/domain/services/service-state.ts'
import type { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { createServiceCalls } from '../../src/services/calls/service-calls.ts'
import { createInProcessDriver } from '../../src/services/drivers/in-process.ts'
import { createRemoteDriver } from '../../src/services/drivers/remote.ts'
import type { SharedServices } from '../../src/services/elsewhere/elsewhere.ts'
import { createAddressRule } from '../../src/services/network/address-rule.ts'
import { createPinnedRequest, type PinnedRequest } from '../../src/services/network/pinned-request.ts'
import type { ProcessDriver } from '../../src/services/process-driver.ts'
import { createServices } from '../../src/services/registry.ts'

export interface ServiceWorldOptions {
  /** Driver of programs; default: none can be started. */
  readonly process?: ProcessDriver
  /** Called with the outcome of every probe over HTTP. */
  readonly onProbe?: (ok: boolean) => void
  readonly settings?: Parameters<typeof servicesSettingsSchema.parse>[0]
  /** What other processes run; default: there are none. */
  readonly shared?: SharedServices
  readonly files?: { readonly services: readonly ServiceDefinition[]; readonly problems: readonly OrchestratorError[] }
}

/** Settings with which nothing waits for long. */
const QUICK = {
  health: { intervalMs: 20, timeoutMs: 2_000, startIntervalMs: 5, retryIntervalMs: 10 },
  restart: { delayMs: 5, maxRetries: 2 },
  stop: { drainMs: 20_000, timeoutMs: 20_000 },
}

/** Services of this process and remote ones, with short waits. The test closes them. */
export function openServiceWorld({
  process: programs,
  onProbe,
  shared,
  settings = {},
  files = { services: [], problems: [] },
}: ServiceWorldOptions = {}) {
  const parsed = servicesSettingsSchema.parse({ ...QUICK, ...(settings as object) })
  const events: NewEvent[] = []
  const listeners = new Set<() => void>()
  const rule = createAddressRule({ origins: parsed.registration.origins })
  const pinned = createPinnedRequest(rule)
  const request: PinnedRequest = async (...given) => {
    try {
      const answer = await pinned(...given)
      onProbe?.(answer.status === 200)
      return answer
    } catch (error) {
      onProbe?.(false)
      throw error
    }
  }
  const publish = (event: NewEvent) => {
    events.push(event)
    for (const listener of [...listeners]) listener()
  }
  const services = createServices({
    defaults: parsed,
    drivers: {
      inProcess: createInProcessDriver((id, error) => publish({ type: 'stop_failed', source: 'test', subject: id, data: error })),
      remote: createRemoteDriver(rule),
      ...(programs && { process: programs }),
    },
    rule,
    request,
    call: createServiceCalls(request),
    inheritedEnvironment: {},
    ownEnvironment: {},
    publish,
    ...(shared && { shared }),
    allowExecutables: parsed.allowExecutables,
    readFiles: async () => files,
    clock: systemClock,
    monotonicNow: () => performance.now(),
  })
  /** Resolves at the first event after which the condition holds. */
  const until = (holds: () => boolean): Promise<void> =>
    new Promise((resolve) => {
      const check = () => {
        if (!holds()) return
        listeners.delete(check)
        resolve()
      }
      listeners.add(check)
      check()
    })
  return {
    services,
    events,
    until,
    untilState: (id: string, state: ServiceState) => until(() => services.get(id).state === state),
    states: (id: string) =>
      events.flatMap(({ type, subject, data }) =>
        type === 'service_state' && subject === id && typeof data === 'object' && data !== null
          ? [String(Reflect.get(data, 'to'))]
          : [],
      ),
  }
}

/** A promise with its resolver. */
export function createGate() {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open: () => open() }
}
