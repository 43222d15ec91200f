import * as z from 'zod'
import { newSharingPolicy, sharingParams, sharingPolicies, sharingPolicy } from '../../../protocol/sharing.ts'
import { callerOf, type Routes } from '../../requests/routes.ts'
import type { ServerDeps } from '../../server-deps.ts'

const tags = ['data sharing']

/** What the caller allows each provider to see. */
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
          summary: 'Read your policy for a provider; without one nothing is allowed',
          params: sharingParams,
          response: { 200: sharingPolicy },
        },
        config: { scope: 'read' },
      },
      async (request) => {
        const { userId } = callerOf(request)
        const { providerKey } = request.params
        return (await dataSharing.get(userId, providerKey)) ?? { userId, providerKey, ...NOTHING }
      },
    )

    app.put(
      '/data-sharing/:providerKey',
      {
        schema: {
          operationId: 'setSharingPolicy',
          tags,
          summary: 'Set your policy for a provider; rules that are not named are false',
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

const NOTHING = { allowConversationHistory: false, allowCrossProviderContext: false, allowAttachments: false }
