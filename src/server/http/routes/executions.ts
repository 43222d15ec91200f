import type { FastifyReply } from 'fastify'
import * as z from 'zod'
import type { FlowStatusReport } from '../../../domain/execution/flow.ts'
import type { ErrorInfo } from '../../../errors/orchestrator-error.ts'
import {
  executeQuery,
  execution,
  flow,
  flowParams,
  flowStatusReport,
  stepExecution,
  stepParams,
  stepResult,
  updatesQuery,
} from '../../../protocol/flow.ts'
import { flowUpdate } from '../../../protocol/update.ts'
import { findRetryAfter } from '../../errors/error-headers.ts'
import { API, callerOf, type Routes } from '../../requests/routes.ts'
import type { ServerDeps } from '../../server-deps.ts'
import { sendEventHeaders } from '../../streaming/begin-events.ts'
import type { InFlight } from '../../streaming/in-flight.ts'
import { type WaitForEndOptions, waitForEnd } from '../../streaming/wait-for-end.ts'
import type { EventStreams } from '../event-streams.ts'

const tags = ['executions']
const lastEventId = z.coerce.number().int().min(0).max(2_147_483_647).optional().catch(undefined)

export interface ExecutionRoutesDeps {
  readonly streams: EventStreams
  readonly inFlight: InFlight
}

/** `Retry-After` for a flow that has failed. The request itself was successful, so its status is 200. */
function toRetryHeaders(error: ErrorInfo | undefined): Readonly<Record<string, string>> {
  const seconds = error && findRetryAfter(error)
  return seconds === undefined ? {} : { 'retry-after': String(seconds) }
}

/** Executions of flows: start, stream updates, cancel. */
export const executionRoutes =
  (deps: ServerDeps, { streams, inFlight }: ExecutionRoutesDeps): Routes =>
  async (app) => {
    const { orchestrator, config } = deps

    app.post(
      '/flows/:flowId/execute',
      {
        schema: {
          operationId: 'executeFlow',
          tags,
          summary:
            'Execute a flow, or resume it after its last recorded step; with `wait` the response is sent when the flow has ended, or waits for somebody',
          params: flowParams,
          querystring: executeQuery,
          body: execution,
          response: { 200: flow, 202: flowStatusReport },
        },
        config: { scope: 'execute', idempotent: true },
      },
      async (request, reply) => {
        const { flowId } = request.params
        const { userId, keyId: apiKeyId } = callerOf(request)
        const options = { streaming: true, resumeAfterCrash: true, ...request.body, apiKeyId }
        const started = await orchestrator.startFlow(flowId, userId, options)
        const waitMs = Math.min(request.query.wait ?? 0, config.server.maxWaitMs)
        const ended = waitMs > 0 ? await wait(reply, { flowId, userId, waitMs }) : undefined
        if (ended?.status === 'PAUSED') return reply.code(202).header('location', `${API}/waiting?flowId=${flowId}`).send(ended)
        if (ended) {
          const read = await orchestrator.getFlow(flowId, userId)
          return reply.code(200).headers(toRetryHeaders(read.error)).send(read)
        }
        return reply.code(202).header('location', `${API}/flows/${flowId}/status`).send(started)
      },
    )

    app.post(
      '/flows/:flowId/steps/:stepId/execute',
      {
        schema: {
          operationId: 'executeStep',
          tags,
          summary: 'Execute one step of a flow that is not running, and return its result',
          params: stepParams,
          body: stepExecution,
          response: { 200: stepResult },
        },
        config: { scope: 'execute', idempotent: true },
      },
      (request) => {
        const { flowId, stepId } = request.params
        return orchestrator.executeStep(flowId, stepId, callerOf(request).userId, request.body.input)
      },
    )

    app.post(
      '/flows/:flowId/cancel',
      {
        schema: {
          operationId: 'cancelFlow',
          tags,
          summary: 'Cancel a flow and its model calls; the response is sent when it has ended',
          params: flowParams,
          response: { 200: flowStatusReport },
        },
        config: { scope: 'execute' },
      },
      (request) => orchestrator.cancelFlow(request.params.flowId, callerOf(request).userId),
    )

    app.get(
      '/flows/:flowId/updates',
      {
        schema: {
          operationId: 'followFlow',
          tags,
          summary: 'Stream the updates of a flow: server-sent events after `Last-Event-ID` or `afterSeq`, to its end',
          params: flowParams,
          querystring: updatesQuery,
          response: {
            200: {
              description: 'Updates, each as an event of its type',
              content: { 'text/event-stream': { schema: flowUpdate } },
            },
          },
        },
        config: { scope: 'read' },
      },
      async (request, reply) => {
        if (request.method === 'HEAD') {
          // Checks only whether the caller may read the flow: a response without a body needs no stream.
          await orchestrator.getFlowStatus(request.params.flowId, callerOf(request).userId)
          return sendEventHeaders(reply)
        }
        const afterSeq = lastEventId.parse(request.headers['last-event-id']) ?? request.query.afterSeq ?? 0
        return streams.send(request, reply, request.params.flowId, afterSeq)
      },
    )

    /**
     * Waits until the flow has ended or waits for somebody, the time is over, the client has gone or the server closes.
     */
    async function wait(
      { raw }: FastifyReply,
      options: Omit<WaitForEndOptions, 'signal'>,
    ): Promise<FlowStatusReport | undefined> {
      const { clientGone, respondNow, release } = inFlight.open(raw)
      const signal = AbortSignal.any([clientGone.signal, respondNow])
      return waitForEnd(deps, { ...options, signal }).finally(release)
    }
  }
