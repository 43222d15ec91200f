import { returnsByItself } from '../machine/returning.ts'
import type { ServiceEntry } from '../service-entry.ts'
import type { AdvertisedRun, ServiceTable } from './service-table.ts'

/** Reports to other processes which services this one runs. */
export interface Advertiser {
  /** Writes what has changed, after the write that has begun. */
  update(): void
  /** Writes every service that this process runs. */
  confirm(): Promise<void>
  /** Removes all services of this process, after the writes before it. */
  close(): Promise<void>
}

export interface AdvertiserDeps {
  readonly table: Pick<ServiceTable, 'advertise' | 'withdraw'>
  /** The services with `advertise`. */
  readonly advertised: () => readonly ServiceEntry[]
  readonly onFailure: (error: unknown) => void
}

export function createAdvertiser({ table, advertised, onFailure }: AdvertiserDeps): Advertiser {
  /** What the table holds of this process, as far as it is known: address and state by id. */
  const stated = new Map<string, string>()
  let hasStated = false
  let isClosed = false
  let isUpdateDue = false
  let lastWrite: Promise<void> = Promise.resolve()

  function runs(): readonly AdvertisedRun[] {
    return advertised().flatMap(({ id, body, life }) => {
      const { model } = life.snapshot()
      const address = body.advertised()
      // The address is not known before a service has its port.
      return address !== undefined && returnsByItself(model) ? [{ serviceId: id, address, state: model.state }] : []
    })
  }

  async function write(isConfirmation: boolean): Promise<void> {
    const present = runs()
    const ended = [...stated.keys()].filter((id) => !present.some(({ serviceId }) => serviceId === id))
    if (ended.length > 0) {
      await table.withdraw(ended)
      for (const id of ended) stated.delete(id)
    }
    const due = present.filter((run) => isConfirmation || stated.get(run.serviceId) !== toKey(run))
    if (due.length === 0) return
    hasStated = true
    // A write that fails may have been done nevertheless; the next one repeats it.
    for (const { serviceId } of due) stated.set(serviceId, '')
    await table.advertise(due)
    for (const run of due) stated.set(run.serviceId, toKey(run))
  }

  function enqueue(work: () => Promise<void>): Promise<void> {
    lastWrite = lastWrite.then(work).catch(onFailure)
    return lastWrite
  }

  return {
    update() {
      if (isUpdateDue || isClosed) return
      isUpdateDue = true
      void enqueue(() => {
        isUpdateDue = false
        return write(false)
      })
    },
    confirm: () => (isClosed ? lastWrite : enqueue(() => write(true))),
    close() {
      isClosed = true
      return hasStated ? enqueue(() => table.withdraw()) : lastWrite
    },
  }
}

const toKey = ({ state, address }: AdvertisedRun): string => `${state} ${address}`
