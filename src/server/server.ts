import type { AddressInfo } from 'node:net'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import type { ServerSettings } from '../config/config.ts'
import { createAuthenticator } from './access/authenticator.ts'
import { assertNotExposed, findExposure } from './access/exposure.ts'
import { createOriginCheck } from './access/origin-check.ts'
import { createApp } from './http/app.ts'
import { createEventStreams } from './http/event-streams.ts'
import { addIdempotency } from './http/idempotency.ts'
import { addObservation } from './http/observation.ts'
import { addDocs, addOpenApi } from './http/openapi.ts'
import { createPendingRequests } from './http/pending-requests.ts'
import { catalogueRoutes } from './http/routes/catalogue.ts'
import { dataSharingRoutes } from './http/routes/data-sharing.ts'
import { executionRoutes } from './http/routes/executions.ts'
import { flowRoutes } from './http/routes/flows.ts'
import { healthRoutes } from './http/routes/health.ts'
import { metricsRoutes } from './http/routes/metrics.ts'
import { permissionRoutes, threadRoutes } from './http/routes/threads.ts'
import { ticketRoutes } from './http/routes/tickets.ts'
import { usageRoutes } from './http/routes/usage.ts'
import { waitingRoutes } from './http/routes/waiting.ts'
import { toListenError, toUrl } from './listen-error.ts'
import { mcpRoutes } from './mcp/mcp-routes.ts'
import { modelRoutes } from './models/model-routes.ts'
import { openAiErrors } from './models/open-ai-error.ts'
import { API } from './requests/routes.ts'
import type { ServerDeps } from './server-deps.ts'
import { createSockets } from './socket/sockets.ts'
import { createInFlight } from './streaming/in-flight.ts'
import { createServerSubscriptions } from './streaming/subscriptions.ts'

export interface HttpServerOptions {
  /** Default: nothing is logged. */
  readonly logger?: FastifyBaseLogger
  /** Shown in /health and /openapi.json. */
  readonly version?: string
  /** Milliseconds between two rechecks whether connected clients may still read their flows. Default: 250. */
  readonly lookEveryMs?: number
}

/** The server: HTTP, WebSocket, OpenAI-compatible API and MCP. */
export interface HttpServer {
  /** The Fastify app, for tests and for backends that add routes. */
  readonly app: FastifyInstance
  /**
   * Resolves with the URL of the server. Rejects with CONFIG_INVALID when other machines could reach it although there
   * are no keys, and when the address is not available.
   */
  listen(): Promise<string>
  /**
   * Takes no new work, ends streams and sockets so that clients reconnect to another process, waits up to
   * `server.closeTimeoutMs` for requests that are being answered, and resolves when no client is connected. Flows
   * continue.
   */
  close(): Promise<void>
}

/** Together with the default of `policyCacheMs`, a change by another process takes effect in less than a second. */
const DEFAULT_RECHECK_INTERVAL_MS = 250

/** Builds the server for an open Polyphony, which it does not close. */
export async function createHttpServer(deps: ServerDeps, options: HttpServerOptions = {}): Promise<HttpServer> {
  const settings = deps.config.server
  const { logger = silentLogger, version = 'unknown', lookEveryMs: recheckIntervalMs = DEFAULT_RECHECK_INTERVAL_MS } = options
  let closing = false
  const isClosing = () => closing

  const origins = createOriginCheck(settings)
  const authenticator = createAuthenticator({
    apiKeys: deps.apiKeys,
    settings,
    isLoopback: findExposure(settings) === undefined,
    now: Date.now,
    logger,
  })
  const metrics = await deps.telemetry.metrics()
  const pending = createPendingRequests(settings)
  const inFlight = createInFlight({ authenticator, settings, recheckIntervalMs })
  const observe = (observed: FastifyInstance) => {
    pending.watch(observed)
    addObservation(observed, { requestContext: deps.telemetry.requestContext, metrics })
  }
  const subscriptions = createServerSubscriptions({ ...deps, metrics })
  const streams = createEventStreams({ subscriptions, inFlight, settings })
  const sockets = createSockets({
    ...deps,
    origins,
    authenticator,
    subscriptions,
    settings,
    inFlight,
    isClosing,
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
  })
  await addOpenApi(app, { version, publicUrl: settings.publicUrl, definitionSchema: deps.definitionSchema() })
  addIdempotency(app, deps)
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
        dataSharingRoutes(deps),
        flowRoutes(deps),
        executionRoutes(deps, { streams, inFlight }),
        waitingRoutes(deps),
        ticketRoutes(deps),
        usageRoutes(deps),
      ]) {
        await api.register(routes)
      }
    },
    { prefix: API },
  )
  await app.register(mcpRoutes(deps, { authenticator, inFlight, version }))
  await app.register(modelRoutes(deps, inFlight))
  await addDocs(app)
  app.addHook('preClose', async () => {
    await inFlight.close(settings.closeTimeoutMs)
    streams.close()
    sockets.close()
    await pending.settle()
  })
  sockets.attach(app.server)

  return {
    app,
    async listen() {
      if (!settings.jwt && !(await deps.apiKeys.exist())) assertNotExposed(settings)
      await app.listen({ host: settings.host, port: settings.port }).catch((error: unknown) => {
        throw toListenError(error, {
          host: { key: 'server.host', value: settings.host },
          port: { key: 'server.port', value: settings.port },
        })
      })
      return addressOf(app, settings)
    },
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

function addressOf(app: FastifyInstance, { host, publicUrl }: ServerSettings): string {
  if (publicUrl !== undefined) return publicUrl
  const address: AddressInfo | string | null = app.server.address()
  const port = typeof address === 'object' && address !== null ? address.port : ''
  return toUrl(host, port)
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
