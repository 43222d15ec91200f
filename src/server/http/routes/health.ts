import * as z from 'zod'
import type { Routes } from '../../requests/routes.ts'
import type { EngineReport } from '../../server-deps.ts'

export interface HealthDeps {
  readonly isClosing: () => boolean
  /** Rejects when the database is not available. */
  readonly pingDatabase: () => Promise<unknown>
  /** The engine and its queue; called for `/health` only. */
  readonly engineHealth: () => Promise<EngineReport>
  readonly startedAtMs: number
  readonly version: string
}

const health = z.object({
  status: z.enum(['ok', 'closing', 'unavailable']),
  database: z.enum(['up', 'down']),
  version: z.string(),
  uptimeSeconds: z.number(),
  timestamp: z.string(),
  /** Absent from `/readyz` and while the database is down. */
  engine: z
    .object({
      engine: z.string(),
      ok: z.boolean(),
      /** Flows that this process is running. */
      running: z.number(),
      /** Flows that wait for a process. */
      queued: z.number(),
      problem: z.string().optional(),
      /**
       * Queued flows that this process leaves to others: functions of their definition are not registered here, or
       * `newerVersion` is the version of rows that only a later version of Polyphony knows.
       */
      unrunnable: z.array(
        z.object({
          name: z.string(),
          version: z.string().optional(),
          newerVersion: z.number().optional(),
          flows: z.number(),
        }),
      ),
    })
    .optional(),
})
/** Milliseconds that the database has to respond. */
const DATABASE_TIMEOUT_MS = 3_000

/** Probes for monitoring. They are public and contain no data of users. */
export const healthRoutes =
  ({ isClosing, pingDatabase, engineHealth, startedAtMs, version }: HealthDeps): Routes =>
  async (app) => {
    const isDatabaseUp = createDatabaseCheck(pingDatabase)
    const readEngine = shareRunning(engineHealth)
    const config = { public: true }
    const tags = ['health']
    const alive = z.object({ status: z.literal('ok') })

    app.get(
      '/livez',
      {
        schema: { operationId: 'getLiveness', tags, summary: 'Check that the process responds', response: { 200: alive } },
        config,
      },
      async () => ({
        status: 'ok' as const,
      }),
    )

    for (const [path, operationId] of [
      ['/readyz', 'getReadiness'],
      ['/health', 'getHealth'],
    ] as const) {
      app.get(
        path,
        {
          schema: {
            operationId,
            tags,
            summary: 'Check that the server takes work and its database responds',
            response: { 200: health, 503: health },
          },
          config,
        },
        async (_, reply) => {
          const isUp = await isDatabaseUp()
          const status = isClosing() ? ('closing' as const) : isUp ? ('ok' as const) : ('unavailable' as const)
          // An engine that cannot be asked is missing from the answer: the database is checked above.
          const engine = isUp && path === '/health' ? await readEngine().catch(() => undefined) : undefined
          const answer = {
            status,
            database: isUp ? ('up' as const) : ('down' as const),
            version,
            uptimeSeconds: Math.floor((Date.now() - startedAtMs) / 1_000),
            timestamp: new Date().toISOString(),
            engine: engine && { ...engine, unrunnable: [...engine.unrunnable] },
          }
          return status === 'ok' ? reply.code(200).send(answer) : reply.code(503).send(answer)
        },
      )
    }
  }

const createDatabaseCheck = (pingDatabase: HealthDeps['pingDatabase']): (() => Promise<boolean>) =>
  shareRunning(() => withinTime(pingDatabase()))

/** The routes are public, so concurrent requests share one query to the database. */
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
