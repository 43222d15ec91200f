import type { EngineReport } from '../server-deps.ts'

export interface HealthDeps {
  readonly isClosing: () => boolean
  /** Rejects when the database is not available. */
  readonly pingDatabase: () => Promise<unknown>
  /** The engine and its queue; called for `/health` only. */
  readonly engineHealth: () => Promise<EngineReport>
  readonly startedAtMs: number
  readonly version: string
}

/** Body of the answer to a probe; its status is 200 if `status` is `ok` or `healthy`, otherwise 503. */
export interface HealthAnswer {
  readonly status: 'ok' | 'healthy' | 'closing' | 'unavailable'
  readonly service: string
  /** Flows of all users that run or are queued; 0 where the engine was not asked for or cannot be read. */
  readonly active_workflows: number
  readonly database: 'up' | 'down'
  readonly version: string
  readonly uptimeSeconds: number
  readonly timestamp: string
  /** Absent where it was not asked for, cannot be read or the database is down. */
  readonly engine: EngineReport | undefined
}

/** Whether a probe passes: `ok` at /readyz and /livez, `healthy` at /health. */
export const isPassing = ({ status }: Pick<HealthAnswer, 'status'>): boolean => status === 'ok' || status === 'healthy'

/** Milliseconds that the database has to respond. */
const DATABASE_TIMEOUT_MS = 3_000

/** Builds the reading of the state of this process for probes, which servers and workers answer alike. */
export function createHealthReading({ isClosing, pingDatabase, engineHealth, startedAtMs, version }: HealthDeps) {
  const isDatabaseUp = shareRunning(() => withinTime(pingDatabase()))
  const readEngine = shareRunning(engineHealth)
  return async ({ withEngine }: { readonly withEngine: boolean }): Promise<HealthAnswer> => {
    const isUp = await isDatabaseUp()
    // An engine that cannot be asked is missing from the answer: the database is checked above.
    const engine = isUp && withEngine ? await readEngine().catch(() => undefined) : undefined
    return {
      status: isClosing() ? 'closing' : isUp ? (withEngine ? 'healthy' : 'ok') : 'unavailable',
      service: 'polyphony',
      active_workflows: engine?.active ?? 0,
      database: isUp ? 'up' : 'down',
      version,
      uptimeSeconds: Math.floor((Date.now() - startedAtMs) / 1_000),
      timestamp: new Date().toISOString(),
      engine,
    }
  }
}

/** Probes are public, so concurrent requests share one query to the database. */
function shareRunning<Value>(read: () => Promise<Value>): () => Promise<Value> {
  let running: Promise<Value> | undefined
  return () => {
    running ??= read().finally(() => {
      running = undefined
    })
    return running
  }
}

/** Resolves with whether the query succeeded in time. */
function withinTime(answer: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve) => {
    const late = setTimeout(resolve, DATABASE_TIMEOUT_MS, false)
    const settle = (isUp: boolean) => {
      clearTimeout(late)
      resolve(isUp)
    }
    answer.then(
      () => settle(true),
      () => settle(false),
    )
  })
}
