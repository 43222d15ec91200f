import type { NewEvent } from '../domain/event.ts'
import type { ServiceDefinition } from '../domain/services/service-schema.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { MachineModel } from './machine/machine-model.ts'
import type { LeftRun, LivingRun } from './process-driver.ts'
import type { ServiceLimit } from './service-driver.ts'

/** Receives what happens to services. Must not throw; implemented by the event log. */
export type PublishEvent = (event: NewEvent) => void

/** Publishes what happens to services; the subject of every event is the id of the service. */
export interface ServiceEvents {
  registered(service: ServiceDefinition): void
  changed(id: string, before: MachineModel, model: MachineModel): void
  limited(id: string, limit: ServiceLimit): void
  failed(id: string, error: unknown): void
  /** What became of a run of an earlier supervisor. */
  left(left: LeftRun): void
  /** A run of an earlier supervisor lives, and no service defines it. */
  unclaimed(run: LivingRun): void
  /** A service calls another one; the content is in no event. */
  message(from: string, to: string): void
  /** An event of the service's own. */
  own(id: string, type: string, data: unknown, correlationId?: string): void
}

export function createServiceEvents(publish: PublishEvent): ServiceEvents {
  const send = (type: string, subject: string, data: unknown, priority: NewEvent['priority'] = 'normal') =>
    publish({ type, source: 'service', subject, data, priority })

  function failed(id: string, error: unknown): void {
    const { code, message } = OrchestratorError.from(error, 'SERVICE_START_FAILED')
    send('service_error', id, { serviceId: id, code, message }, 'high')
  }

  return {
    registered: ({ id, name = id, type }) => send('service_registered', id, { serviceId: id, name, type }),
    changed(id, before, model) {
      const { state, health, attempt, lastExit, lastError } = model
      if (state !== before.state) {
        const reason = lastExit === before.lastExit ? model.reason : lastExit?.reason
        send('service_state', id, { serviceId: id, from: before.state, to: state, attempt, ...(reason && { reason }) })
      }
      if (health !== before.health) send('service_health', id, { serviceId: id, from: before.health, to: health })
      if (lastError && lastError !== before.lastError) {
        const { code, message } = lastError
        send('service_error', id, { serviceId: id, code, message }, state === 'failed' ? 'critical' : 'high')
      }
    },
    limited: (id, limit) => send('service_limit', id, { serviceId: id, limit }, limit === 'memory' ? 'high' : 'normal'),
    failed,
    left(left) {
      const { id, outcome } = left
      const isWarning = outcome === 'set_aside' || outcome === 'unkillable'
      send('service_orphan', id, { serviceId: id, ...toOrphan(left) }, isWarning ? 'high' : 'normal')
    },
    unclaimed: ({ id, pids }) => send('service_orphan', id, { serviceId: id, outcome: 'unclaimed', pids }, 'high'),
    message: (from, to) => send('service_message', to, { serviceId: to, from, to }, 'low'),
    own(id, type, data, correlationId) {
      publish({ type, source: id, subject: id, data, ...(correlationId !== undefined && { correlationId }) })
    },
  }
}

/** What an event may hold of a run that was left: its outcome, and of one that continues no handle on it. */
function toOrphan(left: LeftRun): object {
  if (left.outcome === 'adopted') return { outcome: left.outcome }
  const { id: serviceId, ...facts } = left
  return { serviceId, ...facts }
}
