import { isAtRest } from '../machine/returning.ts'
import type { ServiceEntry } from '../service-entry.ts'
import { createAdvertiser } from './advertiser.ts'
import { createElsewhereReader, type ElsewhereReaderDeps } from './reader.ts'
import type { RunElsewhere } from './run-elsewhere.ts'
import { ROUND_MS, type ServiceTable } from './service-table.ts'

/**
 * Services with `advertise`, which one process runs and others use. Nothing is read or written before such a service is
 * registered.
 */
export interface Elsewhere {
  /** From memory. `undefined` for a service that this process runs or starts, and for one that no process runs. */
  find(entry: ServiceEntry): RunElsewhere | undefined
  /** Makes what `find` returns at most a second old; absent if it is. Never rejects. */
  refresh(entry: ServiceEntry): Promise<void> | undefined
  /** Makes the next `refresh` read, because a call to the service has failed. */
  doubt(entry: ServiceEntry): void
  /** Resolves when it is known whether another process runs the service, or when the table cannot be read. */
  registered(entry: ServiceEntry): Promise<void>
  /** Must be called after every change of the state of a service. */
  changed(id: string): void
  /** Removes the services of this process from the table. Never rejects. */
  close(): Promise<void>
}

/** What the processes of one database share about services. */
export interface SharedServices extends Pick<ElsewhereReaderDeps, 'host' | 'onFailure'> {
  readonly table: ServiceTable
}

export interface ElsewhereDeps extends SharedServices, Omit<ElsewhereReaderDeps, 'table' | 'advertised'> {
  readonly entries: () => Iterable<ServiceEntry>
}

const MAX_AGE_MS = 1_000

export function createElsewhere({ entries, ...deps }: ElsewhereDeps): Elsewhere {
  const isAdvertised = ({ definition }: ServiceEntry): boolean => definition.advertise !== undefined
  const advertised = () => [...entries()].filter(isAdvertised)
  const advertiser = createAdvertiser({ ...deps, advertised })
  const reader = createElsewhereReader({ ...deps, advertised })
  let timer: NodeJS.Timeout | undefined

  function round(): void {
    void advertiser.confirm()
    void reader.read(0)
  }

  return {
    find: (entry) => (isAdvertised(entry) && isAtRest(entry.life.snapshot().model) ? reader.find(entry.id) : undefined),
    refresh: (entry) => (isAdvertised(entry) && isAtRest(entry.life.snapshot().model) ? reader.read(MAX_AGE_MS) : undefined),
    doubt(entry) {
      if (isAdvertised(entry)) reader.doubt()
    },
    async registered(entry) {
      if (!isAdvertised(entry)) return
      timer ??= setInterval(round, ROUND_MS).unref()
      await reader.readAgain()
    },
    changed(id) {
      if (advertised().some((entry) => entry.id === id)) advertiser.update()
    },
    close() {
      clearInterval(timer)
      return advertiser.close()
    },
  }
}
