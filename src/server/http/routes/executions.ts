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
import { type WaitOptions, waitForEnd } from '../../streaming/wait-for-end.ts'
import type { EventStreams } from '../event-streams.ts'

const tags = ['executions']
const lastEventId = z.coerce.number().int().min(0).max(2_147_483_647).optional().catch(undefined)

export interface ExecutionRoutesDeps {
  readonly streams: EventStreams
  readonly inFlight: InFlight
}

/**
 * The request did what it was asked to, so that its status is 200 although the flow in its body has failed: `Retry-After` says when another
 * try is worth while.
 */
function toWaitHeaders(error: ErrorInfo | undefined): Readonly<Record<string, string>> {
  const seconds = error && findRetryAfter(error)
  return seconds === undefined ? {} : { 'retry-after': String(seconds) }
}

/** Running flows: start, follow, stop. */
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
          summary: 'Run a flow, or go on after the last recorded step; with `wait` the answer comes when it has ended',
          params: flowParams,
          querystring: executeQuery,
          body: execution,
          response: { 200: flow, 202: flowStatusReport },
        },
        config: { scope: 'execute', idempotent: true },
      },
      async (request, reply) => {
        const { flowId } = request.params
        const { userId } = callerOf(request)
        const started = await orchestrator.startFlow(flowId, userId, { streaming: true, resumeAfterCrash: true, ...request.body })
        const waitMs = Math.min(request.query.wait ?? 0, config.server.maxWaitMs)
        const ended = waitMs > 0 ? await wait(reply, { flowId, userId, waitMs }) : undefined
        if (ended) {
          const read = await orchestrator.getFlow(flowId, userId)
          return reply.code(200).headers(toWaitHeaders(read.error)).send(read)
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
          summary: 'Run one step of a flow that is not running, and answer with its result',
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
          summary: 'End a flow and its calls; answers when it is over',
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
          summary: 'Follow a flow: server-sent events after `Last-Event-ID` or `afterSeq`, to its end',
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
          // An answer without a body has nothing to wait for: only the rights of the caller are asked.
          await orchestrator.getFlowStatus(request.params.flowId, callerOf(request).userId)
          return sendEventHeaders(reply)
        }
        const afterSeq = lastEventId.parse(request.headers['last-event-id']) ?? request.query.afterSeq ?? 0
        return streams.send(request, reply, request.params.flowId, afterSeq)
      },
    )

    /** Waits until the flow has ended, the time is over, the client has gone or the server closes. */
    async function wait({ raw }: FastifyReply, options: Omit<WaitOptions, 'signal'>): Promise<FlowStatusReport | undefined> {
      const { clientGone, respondNow, release } = inFlight.open(raw)
      const signal = AbortSignal.any([clientGone.signal, respondNow])
      return waitForEnd(deps, { ...options, signal }).finally(release)
    }
  }
