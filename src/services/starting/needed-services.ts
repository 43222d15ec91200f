import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ServiceEntry } from '../service-entry.ts'
import { toStartOrder } from './start-order.ts'

/**
 * The services that must run before one, and it itself, as the last one. Throws SERVICE_INVALID for dependencies that
 * are unknown or form a circle.
 */
export function findNeeded(first: ServiceEntry, find: (id: string) => ServiceEntry | undefined): readonly ServiceEntry[] {
  const needed = new Map<string, ServiceEntry>()
  const visit = (entry: ServiceEntry) => {
    if (needed.has(entry.id)) return
    needed.set(entry.id, entry)
    for (const dependency of entry.definition.dependsOn) {
      const found = find(dependency)
      if (found) visit(found)
    }
  }
  visit(first)
  return toStartOrder([...needed.values()].map((entry) => ({ ...entry, dependsOn: entry.definition.dependsOn })))
}

/** Whether a service that runs, or is about to, depends on this one. */
export function isNeeded(id: string, entries: Iterable<Pick<ServiceEntry, 'definition' | 'life'>>): boolean {
  for (const { definition, life } of entries) {
    const { state } = life.snapshot().model
    if (definition.dependsOn.includes(id) && state !== 'idle' && state !== 'failed') return true
  }
  return false
}

/**
 * A service needs its dependencies while it runs, so more of them than slots would wait for each other for ever. Throws
 * SERVICE_LIMIT_REACHED with the services in their order.
 */
export function assertFits(id: string, needed: readonly Pick<ServiceEntry, 'id' | 'takesSlot'>[], maxConcurrent: number): void {
  const chain = needed.filter(({ takesSlot }) => takesSlot).map((entry) => entry.id)
  if (chain.length <= maxConcurrent) return
  throw new OrchestratorError(
    'SERVICE_LIMIT_REACHED',
    `expected "${id}" and what it depends on to fit into ${maxConcurrent} slots, found ${chain.length} services: ${chain.join(', ')}`,
    { details: { service: id, limit: maxConcurrent, chain } },
  )
}
