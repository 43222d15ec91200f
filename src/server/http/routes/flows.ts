import * as z from 'zod'
import {
  flow,
  flowCheck,
  flowListQuery,
  flowPage,
  flowParams,
  flowStatusReport,
  flowToCheck,
  newFlow,
  rerun,
} from '../../../protocol/flow.ts'
import { toDefinition } from '../../requests/definition-source.ts'
import { API, callerOf, type Routes } from '../../requests/routes.ts'
import type { ServerDeps } from '../../server-deps.ts'

const tags = ['flows']

/** Stored flows with their definitions and results. */
export const flowRoutes =
  ({ orchestrator }: ServerDeps): Routes =>
  async (app) => {
    app.post(
      '/flows',
      {
        schema: {
          operationId: 'createFlow',
          tags,
          summary: 'Create a flow from a definition or a template',
          body: newFlow,
          response: { 201: flow },
        },
        config: { scope: 'write', idempotent: true },
      },
      async (request, reply) => {
        const { threadId, ...source } = request.body
        const created = await orchestrator.createFlow(threadId, callerOf(request).userId, toDefinition(source), {
          overNetwork: true,
        })
        reply.code(201).header('location', `${API}/flows/${created.id}`)
        return created
      },
    )

    app.get(
      '/flows',
      {
        schema: {
          operationId: 'listFlows',
          tags,
          summary: 'List the flows of a thread, or all flows that you created',
          querystring: flowListQuery,
          response: { 200: flowPage },
        },
        config: { scope: 'read' },
      },
      async (request) => {
        const { threadId, ...options } = request.query
        const { flows, nextCursor } = await orchestrator.listFlowPage(callerOf(request).userId, options, threadId)
        return { items: flows, nextCursor }
      },
    )

    app.post(
      '/flows/check',
      {
        schema: {
          operationId: 'checkFlow',
          tags,
          summary: 'Validate a flow and estimate its cost without calling a model',
          body: flowToCheck,
          response: { 200: flowCheck },
        },
        config: { scope: 'read' },
      },
      (request) => {
        const { userId, keyId: apiKeyId } = callerOf(request)
        return orchestrator.checkFlow(toDefinition(request.body), userId, { apiKeyId, overNetwork: true })
      },
    )

    app.get(
      '/flows/:flowId',
      {
        schema: {
          operationId: 'getFlow',
          tags,
          summary: 'Read a flow with its step results',
          params: flowParams,
          response: { 200: flow },
        },
        config: { scope: 'read' },
      },
      (request) => orchestrator.getFlow(request.params.flowId, callerOf(request).userId),
    )

    app.delete(
      '/flows/:flowId',
      {
        schema: {
          operationId: 'deleteFlow',
          tags,
          summary: 'Delete a flow with its results and updates',
          params: flowParams,
          response: { 204: z.undefined() },
        },
        config: { scope: 'write' },
      },
      async (request, reply) => {
        await orchestrator.deleteFlow(request.params.flowId, callerOf(request).userId)
        reply.code(204)
      },
    )

    app.get(
      '/flows/:flowId/status',
      {
        schema: {
          operationId: 'getFlowStatus',
          tags,
          summary: 'Read the status of a flow',
          params: flowParams,
          response: { 200: flowStatusReport },
        },
        config: { scope: 'read' },
      },
      (request) => orchestrator.getFlowStatus(request.params.flowId, callerOf(request).userId),
    )

    app.post(
      '/flows/:flowId/rerun',
      {
        schema: {
          operationId: 'rerunFlow',
          tags,
          summary: 'Create a new flow from the same definition, with the results before `fromStep` carried over',
          params: flowParams,
          body: rerun,
          response: { 201: flow },
        },
        config: { scope: 'write', idempotent: true },
      },
      async (request, reply) => {
        const created = await orchestrator.rerunFlow(request.params.flowId, callerOf(request).userId, request.body)
        reply.code(201).header('location', `${API}/flows/${created.id}`)
        return created
      },
    )
  }
