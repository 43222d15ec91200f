import * as z from 'zod'
import { arrayOf } from '../../protocol/instant.ts'
import { namedSchemas } from '../requests/named-schemas.ts'
import { callerOf, type Routes } from '../requests/routes.ts'
import type { ModelRouteDeps } from './model-route-deps.ts'
import { openAiError } from './open-ai-error.ts'

const model = z.object({
  id: z.string(),
  object: z.literal('model'),
  created: z.number(),
  owned_by: z.enum(['polyphony', 'user']),
})
const models = z.object({ object: z.literal('list'), data: arrayOf(model) })
namedSchemas.add(model, { id: 'Model' }).add(models, { id: 'ModelList' })

/** Lists flows as models. */
export const listRoutes =
  ({ catalogue }: ModelRouteDeps): Routes =>
  async (app) => {
    const config = { scope: 'read' as const }
    const tags = ['models']

    app.get(
      '/v1/models',
      {
        schema: {
          operationId: 'listModels',
          tags,
          summary: 'List templates and your flows as models',
          response: { 200: models, default: openAiError },
        },
        config,
      },
      async (request) => ({ object: 'list' as const, data: await catalogue.list(callerOf(request).userId) }),
    )

    // A wildcard, because model names contain slashes, which some clients do not encode.
    app.get(
      '/v1/models/*',
      {
        schema: {
          operationId: 'getModel',
          tags,
          summary: 'Describe a model',
          params: z.object({ '*': z.string() }),
          response: { 200: model, default: openAiError },
        },
        config,
      },
      (request) => catalogue.describe(request.params['*'], callerOf(request).userId),
    )
  }
