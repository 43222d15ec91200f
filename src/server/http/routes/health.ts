import * as z from 'zod'
import { createHealthReading, type HealthDeps, isPassing } from '../../health/read-health.ts'
import type { Routes } from '../../requests/routes.ts'

const health = z.object({
  /** At `/health` a passing server is `healthy`, at `/readyz` it is `ok`. */
  status: z.enum(['ok', 'healthy', 'closing', 'unavailable']),
  service: z.string(),
  /** Flows of all users that run or are queued, as one number; only `/health` counts them. */
  active_workflows: z.number(),
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
      /** Flows of all users that run in any process or are queued for one. */
      active: z.number(),
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

/** Probes for monitoring. They are public and contain no data of users. */
export const healthRoutes =
  (deps: HealthDeps): Routes =>
  async (app) => {
    const read = createHealthReading(deps)
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
          const { engine, ...answer } = await read({ withEngine: path === '/health' })
          const body = { ...answer, engine: engine && { ...engine, unrunnable: [...engine.unrunnable] } }
          return isPassing(answer) ? reply.code(200).send(body) : reply.code(503).send(body)
        },
      )
    }
  }
