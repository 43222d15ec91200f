import { usageQuery, usageReport } from '../../../protocol/catalogue.ts'
import { callerOf, type Routes } from '../../requests/routes.ts'
import type { ServerDeps } from '../../server-deps.ts'

/** Token usage and cost of the caller's flows. */
export const usageRoutes =
  ({ usage }: ServerDeps): Routes =>
  async (app) => {
    app.get(
      '/usage',
      {
        schema: {
          operationId: 'getUsage',
          tags: ['usage'],
          summary:
            'Sum tokens and cost by day, provider, model or flow; calls without a price and simulated calls are counted separately',
          querystring: usageQuery,
          response: { 200: usageReport },
        },
        config: { scope: 'read' },
      },
      (request) => usage.report(callerOf(request).userId, request.query),
    )
  }
