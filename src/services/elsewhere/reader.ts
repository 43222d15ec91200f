import { SERVICE_STATES } from '../../domain/services/service-state.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { addressRefused, isLoopbackName } from '../../system/named-addresses.ts'
import { isAtRest } from '../machine/returning.ts'
import type { ServiceEntry } from '../service-entry.ts'
import { isAnswering, type RunElsewhere } from './run-elsewhere.ts'
import { type FoundRun, type ServiceTable, STALE_MS } from './service-table.ts'

/** Knows which services other processes run. */
export interface ElsewhereReader {
  find(id: string): RunElsewhere | undefined
  /** Reads the table unless that was done within `maxAgeMs`; absent then. Never rejects. */
  read(maxAgeMs: number): Promise<void> | undefined
  /** Makes the next `read` read, because a call has failed. */
  doubt(): void
  /** Reads the table, after a reading that has begun. Never rejects. */
  readAgain(): Promise<void>
}

export interface ElsewhereReaderDeps {
  readonly table: Pick<ServiceTable, 'find'>
  /** The services with `advertise`. */
  readonly advertised: () => readonly ServiceEntry[]
  /** Throws SERVICE_ADDRESS_REFUSED. Implemented by AddressRule.check. */
  readonly checkAddress: (address: string) => unknown
  /** Name of this machine. */
  readonly host: string
  readonly now: () => number
  /** Milliseconds of a clock that no one sets. */
  readonly monotonicNow: () => number
  readonly onFailure: (error: unknown) => void
}

interface Known extends RunElsewhere {
  readonly abort: AbortController
}

export function createElsewhereReader(deps: ElsewhereReaderDeps): ElsewhereReader {
  const { table, advertised, checkAddress, host: ownHost, now, monotonicNow, onFailure } = deps
  const known = new Map<string, Known>()
  let reading: Promise<void> | undefined
  let readAtMs = Number.NEGATIVE_INFINITY
  let isDoubted = false
  /** Runs of this process have the numbers from 1. */
  let lastRun = 0

  async function readNow(): Promise<void> {
    const startedAtMs = monotonicNow()
    isDoubted = false
    const ids = advertised().flatMap(({ id, life }) => (isAtRest(life.snapshot().model) ? [id] : []))
    // Calls that are on their way to another process may end when this one has started the service.
    for (const id of known.keys()) if (!ids.includes(id)) known.delete(id)
    try {
      const found = ids.length === 0 ? [] : await table.find(ids)
      const kept = new Set(found.map((run) => keep(run).serviceId))
      for (const id of ids) if (!kept.has(id)) forget(id)
      readAtMs = startedAtMs
    } catch (error) {
      onFailure(error)
      // Without the table no one knows whether a service still runs.
      if (monotonicNow() - readAtMs > STALE_MS) for (const id of ids) forget(id)
    }
  }

  function keep(found: FoundRun): Known {
    const { serviceId, address, ownerId, host } = found
    const state = SERVICE_STATES.find((one) => one === found.state) ?? 'starting'
    const before = known.get(serviceId)
    const isSame = before?.ownerId === ownerId && before.address === address && isAnswering(before) === isAnswering({ state })
    if (isSame && before.state === state) return before
    if (!isSame) forget(serviceId)
    const abort = isSame ? before.abort : new AbortController()
    const refused = isSame ? before.refused : refusalOf(found)
    const kept: Known = {
      ...{ serviceId, address, state, ownerId, host, abort },
      since: new Date(now()),
      run: isSame ? before.run : --lastRun,
      ended: abort.signal,
      ...(refused && { refused }),
    }
    known.set(serviceId, kept)
    return kept
  }

  function forget(id: string): void {
    known.get(id)?.abort.abort(new OrchestratorError('SERVICE_NOT_RUNNING', `"${id}" has ended`))
    known.delete(id)
  }

  /** An address is data that any process of the database may have written. */
  function refusalOf({ address, host }: FoundRun): OrchestratorError | undefined {
    try {
      checkAddress(address)
      // The loopback address of another machine means something else on this one.
      if (host !== ownHost && isLoopbackName(new URL(address).hostname)) throw addressRefused(address)
      return undefined
    } catch (error) {
      return OrchestratorError.from(error, 'SERVICE_ADDRESS_REFUSED')
    }
  }

  /** Callers within one reading share it. */
  function readShared(): Promise<void> {
    reading ??= readNow().finally(() => {
      reading = undefined
    })
    return reading
  }

  return {
    find: (id) => known.get(id),
    read: (maxAgeMs) => (!isDoubted && monotonicNow() - readAtMs <= maxAgeMs ? undefined : readShared()),
    doubt() {
      isDoubted = true
    },
    async readAgain() {
      await reading
      await readShared()
    },
  }
}
