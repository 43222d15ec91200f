import { Socket } from 'node:net'
import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import rateLimit from '@fastify/rate-limit'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyRequest, LogController } from 'fastify'
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod'
import type { ServerSettings } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Authenticator } from '../access/authenticate.ts'
import { requireScope } from '../access/caller.ts'
import type { OriginCheck } from '../access/origins.ts'
import { createErrorAnswers, type ErrorFormat } from './error-format.ts'
import { assertFewLevels } from './json-levels.ts'
import { type ProblemContext, toOrchestratorError } from './problem-details.ts'
import './requests.ts'
import { refuseUnreadable } from './unreadable.ts'

export interface AppParts {
  readonly settings: ServerSettings
  readonly logger: FastifyBaseLogger
  readonly origins: OriginCheck
  readonly authenticator: Authenticator
  /** The server takes no new work any more. */
  readonly isClosing: () => boolean
  /** Adds what looks at every request from its beginning, refused ones included. */
  readonly observe: (app: FastifyInstance) => void
  /** Where errors are not told as RFC 9457 says. */
  readonly errorFormats: readonly ErrorFormat[]
}

/** Milliseconds for a client to send its whole request: slower ones only hold connections. */
const REQUEST_TIMEOUT_MS = 60_000
/** At most, between looks for such clients. */
const SLOW_LOOK_MS = 5_000
const MAX_HEADERS = 100
/** Headers that pages of other origins may read. */
const EXPOSED_HEADERS = [
  'location',
  'retry-after',
  'x-request-id',
  'idempotency-replayed',
  'x-polyphony-flow-id',
  'x-polyphony-cost-usd',
  'mcp-session-id',
]
/** A Fastify with everything that stands before the routes: who calls from where, how often, and how errors are told. */
export async function createApp(parts: AppParts): Promise<FastifyInstance> {
  const toErrorAnswer = createErrorAnswers(parts.errorFormats)
  const app = createBareApp(parts, toErrorAnswer)
  readOnlyJson(app)
  app.decorateRequest('caller', undefined)
  parts.observe(app)
  // Before the plugins: routes that they bring along, such as that of preflights, tell errors in the same form.
  tellErrors(app, toErrorAnswer)
  refuseStrangers(app, parts)
  await addBrowserRules(app, parts)
  askWhoCalls(app, parts)
  await limitRates(app, parts)
  return app
}

type ToErrorAnswer = ErrorFormat['toAnswer']

function createBareApp({ settings, logger }: AppParts, toErrorAnswer: ToErrorAnswer): FastifyInstance {
  const app = Fastify({
    loggerInstance: logger,
    // One line per request, written at its end by the telemetry hook.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    genReqId: (request) => toRequestId(request.headers['x-request-id']),
    bodyLimit: settings.bodyLimitBytes,
    trustProxy: settings.trustProxy,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    // Our own hook says so, and in our form.
    return503OnClosing: false,
    routerOptions: { maxParamLength: 500, ignoreTrailingSlash: true },
    // An address that cannot be decoded never reaches the hooks.
    frameworkErrors: (error, request, { raw }) => {
      const { status, headers, body } = toErrorAnswer(toOrchestratorError(error), contextOf(request))
      raw.writeHead(status, { ...headers, 'x-request-id': request.id })
      raw.end(JSON.stringify(body))
    },
    clientErrorHandler: refuseUnreadable,
    http: {
      // One without a Host is refused as one with a foreign one is.
      requireHostHeader: false,
      headersTimeout: settings.headersTimeoutMs,
      connectionsCheckingInterval: Math.min(SLOW_LOOK_MS, settings.headersTimeoutMs),
    },
  })
  app.server.maxHeadersCount = MAX_HEADERS
  // An expectation that nobody knows is passed over: Node would answer it, in no form of ours.
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response))
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  return app
}

/** A page can send text/plain to any address without asking first. No body says as much as an empty object. */
function readOnlyJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') return done(null, undefined)
    assertFewLevels(body)
    void parseJson(request, body, done)
  })
  app.addHook('preValidation', async (request) => {
    if (request.routeOptions.schema?.body !== undefined) request.body ??= {}
  })
}

function tellErrors(app: FastifyInstance, toErrorAnswer: ToErrorAnswer): void {
  app.setErrorHandler((thrown, request, reply) => {
    const error = toOrchestratorError(thrown)
    if (error.code === 'INTERNAL') request.log.error({ err: thrown }, 'a request met a bug')
    const { status, headers, body } = toErrorAnswer(error, contextOf(request))
    return reply.code(status).headers(headers).serializer(JSON.stringify).send(body)
  })
  app.setNotFoundHandler((request) => {
    throw routeNotFound(request)
  })
}

function refuseStrangers(app: FastifyInstance, { origins, settings }: AppParts): void {
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
    origins.assertAllowed(request.raw)
  })
  app.addHook('onSend', async (_, { raw }) => {
    // An answer that nobody takes does not wait for ever. Node sets this back with the next request of the connection.
    if (raw.socket instanceof Socket) raw.socket.setTimeout(settings.sockets.slowAfterMs)
  })
}

/** What browsers are to keep to: headers of security, and which pages may call. */
async function addBrowserRules(app: FastifyInstance, { origins }: AppParts): Promise<void> {
  await app.register(helmet, {
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    // Whether an address is reached over TLS is known to the proxy that ends it.
    strictTransportSecurity: false,
  })
  await app.register(cors, {
    origin: (origin, decide) => decide(null, origin !== undefined && origins.isAllowedOrigin(origin)),
    methods: ['GET', 'POST', 'PUT', 'DELETE'],
    exposedHeaders: EXPOSED_HEADERS,
    maxAge: 600,
  })
}

/** Asked before anything of the body is read. */
function askWhoCalls(app: FastifyInstance, { authenticator, isClosing }: AppParts): void {
  app.addHook('onRequest', async (request) => {
    if (request.is404) throw routeNotFound(request)
    const { public: isPublic, scope } = request.routeOptions.config
    if (isPublic) return
    if (isClosing()) throw new OrchestratorError('SERVER_CLOSING', 'The server is shutting down')
    request.caller = await authenticator.authenticate(request.headers)
    if (scope) requireScope(request.caller, scope)
  })
}

async function limitRates(app: FastifyInstance, { settings }: AppParts): Promise<void> {
  await app.register(rateLimit, {
    max: settings.requestsPerMinute,
    timeWindow: 60_000,
    cache: 20_000,
    keyGenerator: rateKey,
    allowList: (request) => request.routeOptions.config.public === true,
    errorResponseBuilder: (_, { max }) => new OrchestratorError('RATE_LIMITED', `More than ${max} requests in a minute`),
  })
}

const routeNotFound = ({ method }: FastifyRequest): OrchestratorError =>
  new OrchestratorError('ROUTE_NOT_FOUND', `Nothing answers ${method} here`)

const toRequestId = (given: string | string[] | undefined): string =>
  typeof given === 'string' && /^[\w.:-]{1,100}$/.test(given) ? given : crypto.randomUUID()

/** The path alone: what stands behind a question mark may be secret. */
const pathOf = ({ url }: Pick<FastifyRequest, 'url'>): string => url.split('?', 1)[0]?.slice(0, 500) ?? '/'

const contextOf = (request: Pick<FastifyRequest, 'id' | 'url'>): ProblemContext => ({
  requestId: request.id,
  instance: pathOf(request),
})

function rateKey({ caller, ip }: FastifyRequest): string {
  if (!caller || caller.via === 'local') return `ip:${ip}`
  return caller.keyId === undefined ? `user:${caller.userId}` : `key:${caller.keyId}`
}
