import type { ServiceFigures } from '../domain/services/service-figures.ts'
import type { RunElsewhere } from './elsewhere/run-elsewhere.ts'
import type { ServiceReport } from './service.ts'
import type { ServiceEntry } from './service-entry.ts'

/**
 * What is known of a service, from memory. `monotonicMs` and `nowMs` are the same instant on both clocks. `other`: its
 * run in another process, if it has one.
 */
export function toReport(
  { id, definition, body, life }: ServiceEntry,
  monotonicMs: number,
  nowMs: number,
  other?: RunElsewhere,
): ServiceReport {
  const { model, since, run, usage, probe, inFlight } = life.snapshot()
  const { state, health, attempt, restarts, nextStartAtMs, lastExit, lastError } = model
  const endpoint = body.endpoint()
  return {
    id,
    name: definition.name ?? id,
    type: definition.type,
    driver: body.driver,
    state,
    health,
    since,
    attempt,
    restarts,
    adopted: run?.adopted ?? false,
    inFlight,
    ...(nextStartAtMs !== undefined && { nextStartAt: new Date(nowMs + nextStartAtMs - monotonicMs) }),
    ...(run?.process && { process: { ...run.process, startedAt: run.startedAt, ...usage } }),
    ...(lastExit && { lastExit }),
    ...(lastError && { lastError: { code: lastError.code, message: lastError.message } }),
    ...(probe && { probe }),
    ...(endpoint !== undefined && { endpoint }),
    ...(definition.metadata && { metadata: definition.metadata }),
    ...(other && elsewhereOf(other)),
  }
}

/** The state of a run that another process supervises; of one that may not be called only why. */
function elsewhereOf({ state, since, address, host, ownerId, refused }: RunElsewhere): Partial<ServiceReport> {
  const elsewhere = { host, ownerId, address }
  if (refused) return { elsewhere, lastError: { code: refused.code, message: refused.message } }
  return { elsewhere, state, since, endpoint: address }
}

export function toFigures({ id, life }: Pick<ServiceEntry, 'id' | 'life'>): ServiceFigures {
  const { model, inFlight, totals } = life.snapshot()
  return { id, state: model.state, restarts: model.restarts, inFlight, ...totals }
}
