import * as z from 'zod'
import { newSharingPolicy, sharingParams, sharingPolicies, sharingPolicy } from '../../../protocol/sharing.ts'
import { callerOf, type Routes } from '../../requests/routes.ts'
import type { ServerDeps } from '../../server-deps.ts'

const tags = ['data sharing']

/** The caller's data-sharing policies: the context that each provider may receive. */
export const dataSharingRoutes =
  ({ dataSharing }: ServerDeps): Routes =>
  async (app) => {
    app.get(
      '/data-sharing',
      {
        schema: { operationId: 'listSharingPolicies', tags, summary: 'List your policies', response: { 200: sharingPolicies } },
        config: { scope: 'read' },
      },
      async (request) => ({ items: await dataSharing.list(callerOf(request).userId) }),
    )

    app.get(
      '/data-sharing/:providerKey',
      {
        schema: {
          operationId: 'getSharingPolicy',
          tags,
          summary: 'Read your policy for a provider; without a policy nothing is allowed',
          params: sharingParams,
          response: { 200: sharingPolicy },
        },
        config: { scope: 'read' },
      },
      async (request) => {
        const { userId } = callerOf(request)
        const { providerKey } = request.params
        return (await dataSharing.get(userId, providerKey)) ?? { userId, providerKey, ...NO_POLICY }
      },
    )

    app.put(
      '/data-sharing/:providerKey',
      {
        schema: {
          operationId: 'setSharingPolicy',
          tags,
          summary: 'Set your policy for a provider; omitted rules are false',
          params: sharingParams,
          body: newSharingPolicy,
          response: { 200: sharingPolicy },
        },
        config: { scope: 'share' },
      },
      (request) => dataSharing.set(callerOf(request).userId, request.params.providerKey, request.body),
    )

    app.delete(
      '/data-sharing/:providerKey',
      {
        schema: {
          operationId: 'deleteSharingPolicy',
          tags,
          summary: 'Remove your policy for a provider',
          params: sharingParams,
          response: { 204: z.undefined() },
        },
        config: { scope: 'share' },
      },
      async (request, reply) => {
        await dataSharing.remove(callerOf(request).userId, request.params.providerKey)
        reply.code(204)
      },
    )
  }

const NO_POLICY = { allowConversationHistory: false, allowCrossProviderContext: false, allowAttachments: false }
