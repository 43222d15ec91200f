import { Counter, Gauge, type Registry } from 'prom-client'
import type { ServiceFigures } from '../domain/services/service-figures.ts'
import { SERVICE_STATES } from '../domain/services/service-state.ts'
import { OTHER } from './bounded-label.ts'

/** Services with a label of their own. Programs register themselves, so that their number is not the operator's. */
export const MAX_SERVICES = 200

/** Shows the services of this process, which are read once per metric and scrape; later ones count together. */
export function countServices(registry: Registry, read: () => readonly ServiceFigures[]): void {
  const registers = [registry]
  const labelNames = ['service']
  const labelled = (): readonly (ServiceFigures & { readonly service: string })[] =>
    read().map((figures, index) => ({ ...figures, service: index < MAX_SERVICES ? figures.id : OTHER }))

  const states = new Gauge({
    name: 'polyphony_service_state',
    help: '1 for the present state of a service and 0 for its other states.',
    labelNames: ['service', 'state'],
    registers,
    collect() {
      states.reset()
      for (const { service, state } of labelled()) {
        for (const one of SERVICE_STATES) states.inc({ service, state: one }, one === state ? 1 : 0)
      }
    },
  })
  const inFlight = new Gauge({
    name: 'polyphony_service_calls_in_flight',
    help: 'Calls to a service that have not ended.',
    labelNames,
    registers,
    collect() {
      inFlight.reset()
      for (const { service, inFlight: count } of labelled()) inFlight.inc({ service }, count)
    },
  })
  const restarts = new Counter({
    name: 'polyphony_service_restarts_total',
    help: 'Starts of a service after a failure.',
    labelNames,
    registers,
    collect() {
      restarts.reset()
      for (const { service, restarts: count } of labelled()) restarts.inc({ service }, count)
    },
  })
  const failedProbes = new Counter({
    name: 'polyphony_service_failed_probes_total',
    help: 'Probes of the health of a service that failed.',
    labelNames,
    registers,
    collect() {
      failedProbes.reset()
      for (const { service, failedProbes: count } of labelled()) failedProbes.inc({ service }, count)
    },
  })
  const calls = new Counter({
    name: 'polyphony_service_calls_total',
    help: 'Calls to a service that ended: "answered", or "unanswered" if they failed or were cancelled.',
    labelNames: ['service', 'outcome'],
    registers,
    collect() {
      calls.reset()
      for (const { service, answeredCalls, unansweredCalls } of labelled()) {
        calls.inc({ service, outcome: 'answered' }, answeredCalls)
        calls.inc({ service, outcome: 'unanswered' }, unansweredCalls)
      }
    },
  })
}
