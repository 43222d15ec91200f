import type { Owner, Store } from '../../repositories/repository.ts'
import type { SharedServices } from '../../services/elsewhere/elsewhere.ts'
import { STALE_MS } from '../../services/elsewhere/service-table.ts'

/** Milliseconds between two warnings about the same outage. */
const WARN_EVERY_MS = 60_000

/** The services that the processes of a database run for each other; `undefined` where only this one has it. */
export function createSharedServices(
  { kind, services }: Pick<Store, 'kind' | 'services'>,
  { id, host }: Owner,
  warn: (message: string, facts?: Readonly<Record<string, unknown>>) => void,
): SharedServices | undefined {
  if (kind !== 'postgres' || !services) return undefined
  let warnedAtMs = Number.NEGATIVE_INFINITY
  return {
    host,
    table: {
      advertise: (runs) => services.advertise(id, runs, STALE_MS),
      withdraw: (ids) => services.withdraw(id, ids),
      find: (ids) => services.find(ids, id, STALE_MS),
    },
    onFailure(error) {
      if (performance.now() - warnedAtMs < WARN_EVERY_MS) return
      warnedAtMs = performance.now()
      warn('services of other processes are not known, or they do not know of those of this one', {
        message: error instanceof Error ? error.message : String(error),
      })
    },
  }
}
