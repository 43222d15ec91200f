import type { ServiceFigures } from '../domain/services/service-figures.ts'
import type { ServiceReport } from './service.ts'
import type { ServiceEntry } from './service-entry.ts'

/** What is known of a service, from memory. `monotonicMs` and `nowMs` are the same instant on both clocks. */
export function toReport({ id, definition, body, life }: ServiceEntry, monotonicMs: number, nowMs: number): ServiceReport {
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
  }
}

export function toFigures({ id, life }: Pick<ServiceEntry, 'id' | 'life'>): ServiceFigures {
  const { model, inFlight, totals } = life.snapshot()
  return { id, state: model.state, restarts: model.restarts, inFlight, ...totals }
}
