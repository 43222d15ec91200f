import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import { createJsonSchemaTransform, createJsonSchemaTransformObject } from 'fastify-type-provider-zod'
import * as z from 'zod'
import type { JsonSchema } from '../../domain/execution/model-call.ts'
import { problem } from '../../protocol/problem.ts'
import { namedSchemas } from '../requests/named-schemas.ts'

export interface OpenApiOptions {
  readonly version: string
  /** The address that clients use; relative where only the server of the document itself is known. */
  readonly serverUrl: string
  /** JSON Schema of flow definitions. */
  readonly definitionSchema: JsonSchema
}

const DESCRIPTION =
  'Create, execute, stream, cancel and price flows of several language models. Errors are `application/problem+json`; decide on their `code`.'

/** Groups of operations with their descriptions, in the order of the document. */
const TAGS: Readonly<Record<string, string>> = {
  flows: 'Stored flows with their definitions and results.',
  executions: 'Executions of flows: start, stream updates, cancel.',
  waiting: 'Steps that wait for a decision, a time or an event, and their answers.',
  events: 'The event log, and events for steps that wait.',
  threads: 'Conversations with their messages and permissions.',
  files: 'Files of the caller, to which messages and executions refer.',
  templates: 'Definitions that are built from a few parameters.',
  providers: 'Configured providers and their health.',
  'data sharing': 'Policies that decide which context each provider receives.',
  models: 'OpenAI-compatible API: saved flows and templates are its models.',
  workflows: 'Workflows of agents, at the paths of a workflow service; each is a flow.',
  services: 'Services with their states, commands and logs; pools; the server process.',
  usage: 'Token usage and cost.',
  caller: 'The authenticated caller, and tickets for WebSockets.',
  health: 'Probes and monitoring.',
}

const key = {
  type: 'http',
  scheme: 'bearer',
  description: 'A key from `polyphony keys create`, or a token of the configured issuer.',
} as const

const jsonSchemaTransform = createJsonSchemaTransform({ schemaRegistry: namedSchemas })
const jsonSchemaTransformObject = createJsonSchemaTransformObject({ schemaRegistry: namedSchemas })

/** Generates an OpenAPI 3.1 document of all routes that are registered afterwards. */
export async function addOpenApi(app: FastifyInstance, { version, serverUrl, definitionSchema }: OpenApiOptions): Promise<void> {
  const { $schema: _, ...definition } = definitionSchema
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.1',
      info: { title: 'Polyphony', version, description: DESCRIPTION },
      servers: [{ url: serverUrl }],
      tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
      components: { securitySchemes: { key } },
      security: [{ key: [] }],
    },
    transform: ({ schema, url, route, ...rest }) => {
      const transformed = jsonSchemaTransform({ schema, url, route, ...rest })
      const { public: isPublic = false, scope, idempotent = false } = route.config ?? {}
      return {
        ...transformed,
        schema: {
          ...transformed.schema,
          description: isPublic ? 'Open to everybody.' : `Needs a key with the scope \`${scope ?? 'any'}\`.`,
          ...(isPublic ? { security: [] } : {}),
          ...(idempotent ? { headers: idempotencyHeader } : {}),
          response: withErrors(transformed.schema.response),
        },
      }
    },
    transformObject: (document) => {
      if (!('openapiObject' in document)) throw new TypeError('expected a document of OpenAPI 3')
      const openapiObject = withPlainPaths(jsonSchemaTransformObject(document))
      return withSchemas(openapiObject, { FlowDefinition: definition, Problem: problemSchema })
    },
  })
}

/** Names the wildcard of the router, because `{*}` is not a valid parameter in OpenAPI. */
function withPlainPaths<Document extends object>(document: Document): Document {
  return JSON.parse(JSON.stringify(document).replaceAll('{*}', '{model}').replaceAll('"name":"*"', '"name":"model"'))
}

const problemSchema = z.toJSONSchema(problem, { io: 'output', unrepresentable: 'any' })

const idempotencyHeader = {
  type: 'object',
  properties: {
    'idempotency-key': {
      type: 'string',
      maxLength: 200,
      description: 'A request that is repeated with the same key is processed once. The stored response is valid for a day.',
    },
  },
}

const PROBLEM = { description: 'An error', content: { 'application/problem+json': { schema: { title: 'Problem' } } } }
/** Adds the error responses of an operation: problem details, unless its own `default` has another form. */
function withErrors(given: unknown): Readonly<Record<string, unknown>> {
  const responses: Readonly<Record<string, unknown>> = { default: PROBLEM, ...(typeof given === 'object' ? given : {}) }
  const refused = typeof responses.default === 'object' ? responses.default : PROBLEM
  return { '4XX': { ...refused, description: 'The request is refused' }, ...responses }
}

/** Marks a request body without required members as optional, because a missing body counts as an empty object. */
const withOptionalBody = (requestBody: unknown): unknown =>
  JSON.stringify(requestBody).includes('"required":[') || JSON.stringify(requestBody).includes('"$ref"')
    ? requestBody
    : { ...(typeof requestBody === 'object' ? requestBody : {}), required: false }

/** Adds the schemas to the components, and replaces schemas that consist of their title by references. */
function withSchemas<Document extends object>(document: Document, schemas: Readonly<Record<string, object>>): Document {
  const refer = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(refer)
    if (typeof value !== 'object' || value === null) return value
    if ('title' in value && typeof value.title === 'string' && Object.hasOwn(schemas, value.title) && !('type' in value)) {
      return { $ref: `#/components/schemas/${value.title}` }
    }
    const members = Object.fromEntries(Object.entries(value).map(([name, member]) => [name, refer(member)]))
    return 'requestBody' in members ? { ...members, requestBody: withOptionalBody(members.requestBody) } : members
  }
  const paths = 'paths' in document ? refer(document.paths) : {}
  return { ...document, paths, components: { ...componentsOf(document), schemas: { ...usedSchemas(document), ...schemas } } }
}

const componentsOf = (document: object): object =>
  'components' in document && typeof document.components === 'object' ? (document.components ?? {}) : {}

/** The named schemas without their input variants, which no operation refers to. */
function usedSchemas(document: object): Readonly<Record<string, unknown>> {
  const components = componentsOf(document)
  const all = 'schemas' in components ? components.schemas : {}
  return Object.fromEntries(Object.entries(all ?? {}).filter(([name]) => !name.endsWith('Input')))
}

/** Content security policy of the pages: they load only their own files, and their scripts set inline styles. */
const PAGE_POLICY = {
  'default-src': "'self'",
  'style-src': ["'self'", "'unsafe-inline'"],
  'img-src': ["'self'", 'data:'],
  'base-uri': "'none'",
  'frame-ancestors': "'none'",
}

/**
 * Serves the document at /openapi.json, and Swagger UI at /docs with files from this server only. `basePath`: what
 * clients see before these paths.
 */
export async function addDocs(app: FastifyInstance, basePath: string): Promise<void> {
  app.get('/redoc', { schema: { hide: true }, config: { public: true, page: true } }, (_, reply) => reply.redirect('/docs', 308))
  app.get('/openapi.json', { schema: { hide: true }, config: { public: true, page: true } }, () => app.swagger())
  await app.register(async (pages) => {
    pages.addHook('onRoute', (route) => {
      route.config = { ...route.config, public: true, page: true }
    })
    await pages.register(swaggerUi, {
      routePrefix: '/docs',
      indexPrefix: basePath,
      staticCSP: PAGE_POLICY,
      theme: { title: 'Polyphony' },
      uiConfig: { persistAuthorization: false },
    })
  })
}
