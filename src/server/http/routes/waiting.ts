import * as waiting from '../../../protocol/waiting.ts'
import { callerOf, type Routes } from '../../requests/routes.ts'
import type { ServerDeps } from '../../server-deps.ts'

const tags = ['waiting']

/**
 * Steps that wait, and their answers. An answer lets a flow continue and call models, so it needs the scope `execute`.
 */
export const waitingRoutes =
  ({ orchestrator }: Pick<ServerDeps, 'orchestrator'>): Routes =>
  async (app) => {
    app.get(
      '/waiting',
      {
        schema: {
          operationId: 'listWaiting',
          tags,
          summary: 'List the steps that wait in flows that you may read, the oldest first',
          querystring: waiting.waitingListQuery,
          response: { 200: waiting.waitingPage },
        },
        config: { scope: 'read' },
      },
      async (request) => {
        const page = await orchestrator.listWaitingPage(callerOf(request).userId, request.query)
        return { items: page.waiting, nextCursor: page.nextCursor }
      },
    )

    app.post(
      '/flows/:flowId/steps/:stepId/signal',
      {
        schema: {
          operationId: 'signalStep',
          tags,
          summary: 'Decide about a step that waits; its path is one escaped segment of the address. The first decision counts',
          params: waiting.stepPathParams,
          body: waiting.stepAnswer,
          response: { 200: waiting.stepDecision },
        },
        config: { scope: 'execute', idempotent: true },
      },
      (request) => {
        const { flowId, stepId: path } = request.params
        return orchestrator.signal(flowId, callerOf(request).userId, path, request.body)
      },
    )
  }
