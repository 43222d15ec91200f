import * as z from 'zod'
import type { Metrics } from '../../../telemetry/telemetry.ts'
import type { Routes } from '../../requests/routes.ts'

/** Figures for Prometheus. Their labels name no user, flow or model. */
export const metricsRoutes =
  (metrics: Metrics): Routes =>
  async (app) => {
    app.get(
      '/metrics',
      {
        schema: {
          operationId: 'getMetrics',
          tags: ['health'],
          summary: 'Figures in the text format of Prometheus',
          response: { 200: { description: 'Figures', content: { 'text/plain': { schema: z.string() } } } },
        },
        config: { scope: 'metrics' },
      },
      async (_, reply) => reply.type(metrics.contentType).send(await metrics.text()),
    )
  }
