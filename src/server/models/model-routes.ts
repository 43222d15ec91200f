import type { LargeBodies } from '../requests/large-bodies.ts'
import type { Routes } from '../requests/routes.ts'
import type { ServerDeps } from '../server-deps.ts'
import type { InFlight } from '../streaming/in-flight.ts'
import { chatRoutes } from './chat/chat-routes.ts'
import { createFlowCalls } from './flow-calls.ts'
import { listRoutes } from './list-routes.ts'
import { createModelCatalogue } from './model-catalogue.ts'
import type { ModelRouteDeps } from './model-route-deps.ts'
import { responseRoutes } from './responses/response-routes.ts'

const HEARTBEAT_INTERVAL_MS = 10_000

/** The OpenAI-compatible API, with flows as models: /v1/models, /v1/chat/completions, /v1/responses. */
export const modelRoutes =
  (deps: ServerDeps, inFlight: InFlight, largeBodies: LargeBodies): Routes =>
  async (app) => {
    const { orchestrator, conversations, config } = deps
    const shared: ModelRouteDeps = {
      orchestrator,
      conversations,
      catalogue: createModelCatalogue(deps, new Date()),
      calls: createFlowCalls(deps),
      inFlight,
      streams: { limits: config.server.sockets, heartbeatMs: HEARTBEAT_INTERVAL_MS },
      parsing: config.server.models,
      largeBodies,
    }
    await app.register(listRoutes(shared))
    await app.register(chatRoutes(shared))
    await app.register(responseRoutes(shared))
  }
