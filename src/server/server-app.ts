import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import type { ServerSettings } from '../config/config.ts'
import { type AuthenticatorDeps, createAuthenticator } from './access/authenticator.ts'
import { findExposure } from './access/exposure.ts'
import { createOriginCheck } from './access/origin-check.ts'
import { createProcessTokens } from './access/process-tokens.ts'
import { createApp } from './http/app.ts'
import { addBasePath } from './http/base-path.ts'
import { createEventStreams } from './http/event-streams.ts'
import { addIdempotency } from './http/idempotency.ts'
import { addObservation } from './http/observation.ts'
import { addDocs, addOpenApi } from './http/openapi.ts'
import { createPendingRequests } from './http/pending-requests.ts'
import { catalogueRoutes } from './http/routes/catalogue.ts'
import { dataSharingRoutes } from './http/routes/data-sharing.ts'
import { eventRoutes } from './http/routes/events.ts'
import { executionRoutes } from './http/routes/executions.ts'
import { fileRoutes } from './http/routes/files.ts'
import { flowRoutes } from './http/routes/flows.ts'
import { healthRoutes } from './http/routes/health.ts'
import { metricsRoutes } from './http/routes/metrics.ts'
import { serviceAliases } from './http/routes/service-aliases.ts'
import { serviceRoutes } from './http/routes/services.ts'
import { permissionRoutes, threadRoutes } from './http/routes/threads.ts'
import { ticketRoutes } from './http/routes/tickets.ts'
import { usageRoutes } from './http/routes/usage.ts'
import { waitingRoutes } from './http/routes/waiting.ts'
import { mcpRoutes } from './mcp/mcp-routes.ts'
import { modelRoutes } from './models/model-routes.ts'
import { openAiErrors } from './models/open-ai-error.ts'
import { createLargeBodies } from './requests/large-bodies.ts'
import { API } from './requests/routes.ts'
import type { ServerDeps } from './server-deps.ts'
import { createLogAnswers } from './services/log-answer.ts'
import { createServiceFeed } from './services/service-feed.ts'
import { createSockets, type Sockets } from './socket/sockets.ts'
import { createInFlight } from './streaming/in-flight.ts'
import { createServerSubscriptions } from './streaming/subscriptions.ts'
import { workflowRoutes } from './swarm/workflow-routes.ts'

export interface HttpServerOptions {
  /** Default: nothing is logged. */
  readonly logger?: FastifyBaseLogger
  /** Shown in /health and /openapi.json. */
  readonly version?: string
  /** Milliseconds between two rechecks whether connected clients may still read their flows. Default: 250. */
  readonly lookEveryMs?: number
  /** Token with which the command line of the operator controls the server. Default: none. */
  readonly controlToken?: string
}

export interface ServerAppOptions extends HttpServerOptions {
  /** Clients that need no key. Default: those of a server without keys that only this machine can reach. */
  readonly access?: Partial<Pick<AuthenticatorDeps, 'isLocal' | 'identify'>>
  /** Path that clients see before every path of the server. Default: none. */
  readonly basePath?: string
}

/** All routes and sockets, without an address on which they are reached. */
export interface ServerApp {
  readonly app: FastifyInstance
  readonly sockets: Pick<Sockets, 'upgrade'>
  /**
   * Takes no new work, ends streams and sockets so that clients reconnect to another process, waits up to
   * `server.closeTimeoutMs` for requests that are being answered, and closes the connections of the app's own server.
   * Flows continue.
   */
  close(): Promise<void>
}

/** Together with the default of `policyCacheMs`, a change by another process takes effect in less than a second. */
const DEFAULT_RECHECK_INTERVAL_MS = 250

/** Connects routes and sockets with an open Polyphony. */
export async function createServerApp(deps: ServerDeps, options: ServerAppOptions = {}): Promise<ServerApp> {
  const settings = deps.config.server
  const { logger = silentLogger, version = 'unknown', access, basePath = '' } = options
  const { lookEveryMs: recheckIntervalMs = DEFAULT_RECHECK_INTERVAL_MS } = options
  let closing = false
  const isClosing = () => closing

  const origins = createOriginCheck(settings)
  const authenticator = createAuthenticator({
    apiKeys: deps.apiKeys,
    settings,
    isLoopback: findExposure(settings) === undefined,
    ...access,
    processTokens: createProcessTokens({
      ...(options.controlToken !== undefined && { controlToken: options.controlToken }),
      serviceOfRun: (token) => deps.services.serviceOfRun(token),
    }),
    now: Date.now,
    logger,
  })
  const metrics = await deps.telemetry.metrics()
  const pending = createPendingRequests(settings)
  const largeBodies = createLargeBodies({ ...settings, maxFileBytes: deps.config.files.maxBytes })
  const inFlight = createInFlight({ authenticator, settings, recheckIntervalMs })
  const observe = (observed: FastifyInstance) => {
    pending.watch(observed)
    addObservation(observed, { requestContext: deps.telemetry.requestContext, metrics })
  }
  const subscriptions = createServerSubscriptions({ ...deps, metrics })
  const serviceFeed = createServiceFeed(deps.services)
  const serviceDeps = { sendLog: createLogAnswers({ ...deps, inFlight, settings }), version }
  const streams = createEventStreams({ subscriptions, inFlight, settings })
  const sockets = createSockets({
    ...deps,
    origins,
    authenticator,
    subscriptions,
    serviceFeed,
    settings,
    inFlight,
    isClosing,
    basePath,
    metrics,
  })

  const { requestCounts } = deps
  const app = await createApp({
    requestCounts,
    settings,
    logger,
    origins,
    authenticator,
    isClosing,
    observe,
    errorFormats: [openAiErrors],
    basePath,
  })
  await addOpenApi(app, { version, serverUrl: serverUrlOf(settings, basePath), definitionSchema: deps.definitionSchema() })
  addIdempotency(app, deps)
  // After it, because stored answers have no base path: servers at different ones may share them.
  if (basePath !== '') addBasePath(app, basePath)
  await app.register(
    healthRoutes({
      isClosing,
      version,
      startedAtMs: Date.now(),
      pingDatabase: () => deps.apiKeys.exist(),
      engineHealth: deps.engineHealth,
    }),
  )
  await app.register(metricsRoutes(metrics))
  await app.register(
    async (api) => {
      for (const routes of [
        catalogueRoutes(deps),
        threadRoutes(deps),
        permissionRoutes(deps),
        fileRoutes(deps, largeBodies),
        dataSharingRoutes(deps),
        flowRoutes(deps),
        executionRoutes(deps, { streams, inFlight }),
        waitingRoutes(deps),
        eventRoutes(deps, streams),
        ticketRoutes(deps),
        usageRoutes(deps),
        serviceRoutes(deps, serviceDeps),
      ]) {
        await api.register(routes)
      }
    },
    { prefix: API },
  )
  await app.register(serviceAliases(deps, serviceDeps))
  await app.register(mcpRoutes(deps, { authenticator, inFlight, version }))
  await app.register(modelRoutes(deps, inFlight, largeBodies))
  await app.register(workflowRoutes(deps))
  await addDocs(app, basePath)
  app.addHook('preClose', async () => {
    await inFlight.close(settings.closeTimeoutMs)
    streams.close()
    sockets.close()
    await pending.settle()
  })

  return {
    app,
    sockets,
    async close() {
      closing = true
      // Ended before the feeds close, so that streams and sockets report their own reason. The hook above waits for the
      // rest.
      void inFlight.close(settings.closeTimeoutMs)
      subscriptions.close()
      await app.close()
    },
  }
}

/** Without a public address the URL is relative and refers to the server of the document. */
function serverUrlOf({ publicUrl }: Pick<ServerSettings, 'publicUrl'>, basePath: string): string {
  if (publicUrl === undefined) return basePath || '/'
  const { origin, pathname } = new URL(publicUrl)
  return pathname === '/' ? origin + basePath : publicUrl.replace(/\/+$/, '')
}

const nothing = () => {}
const silentLogger: FastifyBaseLogger = {
  level: 'silent',
  fatal: nothing,
  error: nothing,
  warn: nothing,
  info: nothing,
  debug: nothing,
  trace: nothing,
  silent: nothing,
  child: () => silentLogger,
}
