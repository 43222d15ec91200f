import * as z from 'zod'
import type { Metrics } from '../../../telemetry/telemetry.ts'
import type { Routes } from '../../requests/routes.ts'

/** Metrics for Prometheus. Their labels contain no user, flow or model. */
export const metricsRoutes =
  (metrics: Metrics): Routes =>
  async (app) => {
    app.get(
      '/metrics',
      {
        schema: {
          operationId: 'getMetrics',
          tags: ['health'],
          summary: 'Read metrics in the text format of Prometheus',
          response: { 200: { description: 'Metrics', content: { 'text/plain': { schema: z.string() } } } },
        },
        config: { scope: 'metrics' },
      },
      async (_, reply) => reply.type(metrics.contentType).send(await metrics.text()),
    )
  }
