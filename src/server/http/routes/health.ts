import * as z from 'zod'
import type { Routes } from '../../requests/routes.ts'

export interface HealthDeps {
  readonly isClosing: () => boolean
  /** Rejects where the database does not answer. */
  readonly askDatabase: () => Promise<unknown>
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
const ANSWER_WITHIN_MS = 3_000

/** For those who watch over the process; open to everybody, and they tell nothing of users. */
export const healthRoutes =
  ({ isClosing, askDatabase, startedAtMs, version }: HealthDeps): Routes =>
  async (app) => {
    const isDatabaseUp = createDatabaseLook(askDatabase)
    const config = { public: true }
    const tags = ['health']
    const alive = z.object({ status: z.literal('ok') })

    app.get(
      '/livez',
      { schema: { operationId: 'getLiveness', tags, summary: 'The process answers', response: { 200: alive } }, config },
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
            summary: 'The server takes work, and its database answers',
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

/** Everybody may ask: the database is asked once at a time, however many do. */
function createDatabaseLook(askDatabase: HealthDeps['askDatabase']): () => Promise<boolean> {
  let looking: Promise<boolean> | undefined
  return () => {
    looking ??= withinTime(askDatabase()).finally(() => {
      looking = undefined
    })
    return looking
  }
}

/** Whether it resolves in time. */
function withinTime(answer: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve) => {
    const late = setTimeout(resolve, ANSWER_WITHIN_MS, false)
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
