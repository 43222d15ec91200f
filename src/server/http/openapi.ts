import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import { jsonSchemaTransform } from 'fastify-type-provider-zod'
import * as z from 'zod'
import { problem } from '../../protocol/problem.ts'

export interface OpenApiFacts {
  readonly version: string
  readonly publicUrl?: string
}

/** OpenAPI 3.1 of all routes that are registered afterwards. */
export async function addOpenApi(app: FastifyInstance, { version, publicUrl }: OpenApiFacts): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.1',
      info: {
        title: 'Polyphony',
        version,
        description:
          'Create, run, follow, cancel and price flows of several language models. Errors are `application/problem+json`.',
      },
      servers: publicUrl === undefined ? [] : [{ url: publicUrl }],
      components: {
        securitySchemes: {
          key: {
            type: 'http',
            scheme: 'bearer',
            description: 'A key of `polyphony keys create`, or a token of the configured issuer.',
          },
        },
      },
      security: [{ key: [] }],
    },
    transform: ({ schema, url, route, ...rest }) => {
      const transformed = jsonSchemaTransform({ schema, url, route, ...rest })
      const { public: isPublic = false } = route.config ?? {}
      return {
        ...transformed,
        schema: {
          ...transformed.schema,
          ...(isPublic ? { security: [] } : {}),
          response: withProblem(transformed.schema.response),
        },
      }
    },
  })
}

const problemSchema = z.toJSONSchema(problem, { io: 'output', unrepresentable: 'any' })

const withProblem = (responses: unknown) => ({
  default: { description: 'An error', content: { 'application/problem+json': { schema: problemSchema } } },
  ...(typeof responses === 'object' ? responses : {}),
})

/** The description as JSON, and pages that try it out; everything comes from this server. */
export async function addDocs(app: FastifyInstance): Promise<void> {
  app.get('/openapi.json', { schema: { hide: true }, config: { public: true } }, () => app.swagger())
  await app.register(async (pages) => {
    pages.addHook('onRoute', (route) => {
      route.config = { ...route.config, public: true }
    })
    await pages.register(swaggerUi, { routePrefix: '/docs', staticCSP: true, uiConfig: { persistAuthorization: false } })
  })
}
