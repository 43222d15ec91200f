import * as z from 'zod'
import type { Routes } from '../../requests/routes.ts'

export interface HealthDeps {
  readonly isClosing: () => boolean
  /** Rejects when the database is not available. */
  readonly pingDatabase: () => Promise<unknown>
  readonly startedAtMs: number
  readonly version: string
}

const health = z.object({
  status: z.enum(['ok', 'closing', 'unavailable']),
  database: z.enum(['up', 'down']),
  version: z.string(),
  uptimeSeconds: z.number(),
  timestamp: z.string(),
})
/** Milliseconds that the database has to respond. */
const DATABASE_TIMEOUT_MS = 3_000

/** Probes for monitoring. They are public and contain no data of users. */
export const healthRoutes =
  ({ isClosing, pingDatabase, startedAtMs, version }: HealthDeps): Routes =>
  async (app) => {
    const isDatabaseUp = createDatabaseCheck(pingDatabase)
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
          const answer = {
            status,
            database: isUp ? ('up' as const) : ('down' as const),
            version,
            uptimeSeconds: Math.floor((Date.now() - startedAtMs) / 1_000),
            timestamp: new Date().toISOString(),
          }
          return status === 'ok' ? reply.code(200).send(answer) : reply.code(503).send(answer)
        },
      )
    }
  }

/** The routes are public, so concurrent requests share one query to the database. */
function createDatabaseCheck(pingDatabase: HealthDeps['pingDatabase']): () => Promise<boolean> {
  let running: Promise<boolean> | undefined
  return () => {
    running ??= withinTime(pingDatabase()).finally(() => {
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
