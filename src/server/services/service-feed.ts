import type { ServiceReport, Services } from '../../services/service.ts'

/** Receives reports of services: all of them first, then every one that has changed. */
export type ServiceListener = (report: ServiceReport) => void

/** Observes the states of all services for the connections of one server. */
export interface ServiceFeed {
  /** Calls the listener with every service at once and with changes later. Returns the function that ends it. */
  subscribe(listener: ServiceListener): () => void
  /** Number of services at this moment. */
  count(): number
}

/** Milliseconds between two comparisons: a listener receives at most four reports of a service in a second. */
const COMPARE_EVERY_MS = 250

/**
 * Reports are read from memory, and only while somebody listens. Comparing them at an interval delivers the newest
 * state of a service that changes often, and never more than a client can read.
 */
export function createServiceFeed(services: Pick<Services, 'list'>): ServiceFeed {
  const listeners = new Set<ServiceListener>()
  let known = new Map<string, string>()
  let timer: NodeJS.Timeout | undefined

  function compare(): void {
    const now = new Map<string, string>()
    for (const report of services.list()) {
      const shown = JSON.stringify(report)
      now.set(report.id, shown)
      if (known.get(report.id) === shown) continue
      for (const listener of listeners) listener(report)
    }
    known = now
  }

  return {
    count: () => services.list().length,
    subscribe(listener) {
      // Changes that earlier listeners have not received yet are delivered to them before the new one joins.
      compare()
      listeners.add(listener)
      for (const report of services.list()) listener(report)
      timer ??= setInterval(compare, COMPARE_EVERY_MS).unref()
      return () => {
        listeners.delete(listener)
        if (listeners.size > 0) return
        clearInterval(timer)
        timer = undefined
        known = new Map()
      }
    },
  }
}
