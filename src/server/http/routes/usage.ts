import { usageQuery, usageReport } from '../../../protocol/catalogue.ts'
import { callerOf, type Routes } from '../../requests/routes.ts'
import type { ServerDeps } from '../../server-deps.ts'

/** What the caller's flows have used and cost. */
export const usageRoutes =
  ({ usage }: ServerDeps): Routes =>
  async (app) => {
    app.get(
      '/usage',
      {
        schema: {
          operationId: 'getUsage',
          tags: ['usage'],
          summary: 'Sum tokens and cost by day, provider, model or flow; what has no price and what is simulated stand apart',
          querystring: usageQuery,
          response: { 200: usageReport },
        },
        config: { scope: 'read' },
      },
      (request) => usage.report(callerOf(request).userId, request.query),
    )
  }
