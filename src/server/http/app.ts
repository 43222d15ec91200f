import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import rateLimit from '@fastify/rate-limit'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyRequest, LogController } from 'fastify'
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod'
import type { ServerSettings } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { RequestCountRepository } from '../../repositories/repository.ts'
import type { Authenticator } from '../access/authenticator.ts'
import { requireScope } from '../access/caller.ts'
import type { OriginCheck } from '../access/origin-check.ts'
import { createCountStore } from '../access/request-counts.ts'
import { createErrorAnswers, type ErrorFormat } from '../errors/error-format.ts'
import { type ProblemContext, toOrchestratorError } from '../errors/problem-details.ts'
import { type AllowedMethods, collectAllowedMethods, noRoute, pathOf } from './allowed-methods.ts'
import { hasBody, readJsonBodies } from './json-body.ts'
import '../requests/routes.ts'
import { refuseUnreadable } from '../raw/refuse-unreadable.ts'

export interface AppDeps {
  readonly settings: ServerSettings
  readonly logger: FastifyBaseLogger
  readonly origins: OriginCheck
  readonly authenticator: Authenticator
  /** Absent where each server counts its own requests. */
  readonly requestCounts?: RequestCountRepository
  /** True from the moment the server takes no new work. */
  readonly isClosing: () => boolean
  /** Adds the hooks that observe every request, refused ones included. Called before all other hooks are added. */
  readonly observe: (app: FastifyInstance) => void
  /** Formats of errors for paths whose clients do not expect problem details (RFC 9457). */
  readonly errorFormats: readonly ErrorFormat[]
  /** Path that clients see before every path of the server; empty at the root. */
  readonly basePath: string
}

/** Milliseconds that a client has to send its whole request. Slower clients only occupy connections. */
const REQUEST_TIMEOUT_MS = 60_000
/** Maximum milliseconds between two checks for such clients. */
const SLOW_CHECK_INTERVAL_MS = 5_000
const MAX_HEADERS = 100
/** Response headers that pages of other origins may read. */
const EXPOSED_HEADERS = [
  'location',
  'retry-after',
  'x-request-id',
  'idempotency-replayed',
  'x-polyphony-flow-id',
  'x-polyphony-cost-usd',
  'mcp-session-id',
]
const SERVER_METHODS = ['DELETE', 'GET', 'HEAD', 'POST', 'PUT']

/**
 * Creates the Fastify app with everything that applies to all routes: checks of host, origin, caller and rate, and the
 * form of errors.
 */
export async function createApp(deps: AppDeps): Promise<FastifyInstance> {
  const toErrorAnswer = createErrorAnswers(deps.errorFormats, deps.basePath)
  const app = createBareApp(deps, toErrorAnswer)
  const methods = collectAllowedMethods(app)
  readJsonBodies(app)
  app.decorateRequest('caller', undefined)
  deps.observe(app)
  // Registered before the plugins, so that the routes they add, such as that of preflights, report errors in the same
  // form.
  setErrorHandlers(app, toErrorAnswer, methods)
  checkHostAndOrigin(app, deps)
  answerOptions(app, deps, methods)
  await addBrowserRules(app, deps)
  authenticateRequests(app, deps, methods)
  await limitRates(app, deps)
  return app
}

type ToErrorAnswer = ErrorFormat['toAnswer']

function createBareApp({ settings, logger }: AppDeps, toErrorAnswer: ToErrorAnswer): FastifyInstance {
  const app = Fastify({
    loggerInstance: logger,
    // One line per request, written at its end by the telemetry hook.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    genReqId: (request) => toRequestId(request.headers['x-request-id']),
    bodyLimit: settings.bodyLimitBytes,
    trustProxy: settings.trustProxy,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
    exposeHeadRoutes: true,
    // The hook below answers with SERVER_CLOSING instead, in the form of all errors.
    return503OnClosing: false,
    routerOptions: { maxParamLength: 500, ignoreTrailingSlash: true },
    // Called for a path that cannot be decoded. Such a request does not reach the hooks.
    frameworkErrors: (error, request, { raw }) => {
      const { status, headers, body } = toErrorAnswer(toOrchestratorError(error), contextOf(request))
      raw.writeHead(status, { ...headers, 'x-request-id': request.id })
      raw.end(JSON.stringify(body))
    },
    clientErrorHandler: refuseUnreadable,
    http: {
      // The origin check refuses a request without a Host header, in the form of all errors.
      requireHostHeader: false,
      headersTimeout: settings.headersTimeoutMs,
      connectionsCheckingInterval: Math.min(SLOW_CHECK_INTERVAL_MS, settings.headersTimeoutMs),
    },
  })
  app.server.maxHeadersCount = MAX_HEADERS
  // An unknown Expect header is ignored. Node would answer it with 417, in another form than our errors.
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response))
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  return app
}

function setErrorHandlers(app: FastifyInstance, toErrorAnswer: ToErrorAnswer, methods: AllowedMethods): void {
  app.setErrorHandler((thrown, request, reply) => {
    const error = toOrchestratorError(thrown, hasBody(request))
    if (error.code === 'INTERNAL') request.log.error({ err: thrown }, 'a request failed because of a bug')
    const { status, headers, body } = toErrorAnswer(error, contextOf(request))
    // The rate limiter has set the exact time.
    const known = reply.getHeader('retry-after')
    if (known !== undefined) headers['retry-after'] = String(known)
    return reply.code(status).headers(headers).serializer(JSON.stringify).send(body)
  })
  app.setNotFoundHandler((request) => {
    throw noRoute(request, methods)
  })
}

function checkHostAndOrigin(app: FastifyInstance, { origins, settings }: AppDeps): void {
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
    origins.assertAllowed(request.raw, request.routeOptions.config)
  })
  app.addHook('onSend', async (_, { raw }) => {
    // Closes the connection of a client that does not read its response. Node resets the timeout with the next request.
    if (raw.socket !== null && 'setTimeout' in raw.socket) raw.socket.setTimeout(settings.sockets.slowAfterMs)
  })
}

/** Answers OPTIONS with the methods of the path (RFC 9110, 9.3.7); preflights of allowed origins are left to CORS. */
function answerOptions(app: FastifyInstance, { origins }: AppDeps, methods: AllowedMethods): void {
  app.addHook('onRequest', async (request, reply) => {
    const { origin, 'access-control-request-method': wanted } = request.headers
    if (request.method !== 'OPTIONS') return
    if (origin !== undefined && wanted !== undefined && origins.isAllowedOrigin(origin)) return
    const allow = request.url === '*' ? SERVER_METHODS.join(', ') : methods.find(pathOf(request.url))
    if (allow === undefined) throw noRoute(request, methods)
    return reply.code(204).header('allow', allow).send()
  })
}

/** Adds the rules that browsers enforce: security headers and CORS. */
async function addBrowserRules(app: FastifyInstance, { origins }: AppDeps): Promise<void> {
  await app.register(helmet, {
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    // Only the proxy that terminates TLS knows whether an address is always reached over TLS.
    strictTransportSecurity: false,
  })
  await app.register(cors, {
    origin: (origin, decide) => decide(null, origin !== undefined && origins.isAllowedOrigin(origin)),
    methods: [...SERVER_METHODS],
    exposedHeaders: EXPOSED_HEADERS,
    maxAge: 600,
  })
}

/** Authenticates a request and checks its scope, before its body is read. */
function authenticateRequests(app: FastifyInstance, { authenticator, isClosing }: AppDeps, methods: AllowedMethods): void {
  const countFailure = createFailureLimit(app)
  app.addHook('onRequest', async (request) => {
    if (request.is404) throw noRoute(request, methods)
    const { public: isPublic, scope, ownService } = request.routeOptions.config
    if (isPublic) return
    if (isClosing()) throw new OrchestratorError('SERVER_CLOSING', 'The server is shutting down')
    try {
      request.caller = await authenticator.authenticate(request.raw)
    } catch (error) {
      if (OrchestratorError.is(error) && error.code === 'UNAUTHENTICATED') await countFailure(request)
      throw error
    }
    if (scope && !(ownService && request.caller.serviceId !== undefined)) requireScope(request.caller, scope)
  })
}

/** Counts failed authentications per address. Rejects with RATE_LIMITED when there are too many. */
function createFailureLimit(app: FastifyInstance): (request: FastifyRequest) => Promise<void> {
  let check: ReturnType<FastifyInstance['createRateLimit']> | undefined
  return async (request) => {
    check ??= app.createRateLimit({ keyGenerator: ({ ip }) => `failed:${ip}` })
    const found = await check(request)
    if (found.isAllowed || !found.isExceeded) return
    throw new OrchestratorError('RATE_LIMITED', `More than ${found.max} failed authentications in a minute`, {
      details: { retryAfterMs: found.ttl },
    })
  }
}

async function limitRates(app: FastifyInstance, { settings, requestCounts, logger }: AppDeps): Promise<void> {
  await app.register(rateLimit, {
    max: settings.requestsPerMinute,
    timeWindow: 60_000,
    cache: 20_000,
    ...(requestCounts && { store: createCountStore(requestCounts, logger) }),
    keyGenerator: rateKey,
    allowList: (request) => request.routeOptions.config.public === true,
    errorResponseBuilder: (_, { max }) => new OrchestratorError('RATE_LIMITED', `More than ${max} requests in a minute`),
  })
}

const toRequestId = (given: string | string[] | undefined): string =>
  typeof given === 'string' && /^[\w.:-]{1,100}$/.test(given) ? given : crypto.randomUUID()

const contextOf = (request: Pick<FastifyRequest, 'id' | 'url'>): ProblemContext => ({
  requestId: request.id,
  instance: pathOf(request.url).slice(0, 500),
})

function rateKey({ caller, ip }: FastifyRequest): string {
  if (!caller || caller.via === 'local') return `ip:${ip}`
  return caller.keyId === undefined ? `user:${caller.userId}` : `key:${caller.keyId}`
}
