import { budgetReports, usageQuery, usageReport } from '../../../protocol/catalogue.ts'
import { callerOf, type Routes } from '../../requests/routes.ts'
import type { ServerDeps } from '../../server-deps.ts'

/** Token usage and cost of the caller's flows, and what is left of the caller's budgets. */
export const usageRoutes =
  ({ usage, budgets }: ServerDeps): Routes =>
  async (app) => {
    app.get(
      '/budgets',
      {
        schema: {
          operationId: 'listBudgets',
          tags: ['usage'],
          summary: 'List the budgets of the caller and of its API key, with what is spent, reserved and left of them now',
          response: { 200: budgetReports },
        },
        config: { scope: 'read' },
      },
      async (request) => {
        const { userId, keyId } = callerOf(request)
        return { items: await budgets.list(userId, keyId) }
      },
    )

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
