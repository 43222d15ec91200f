import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import type { ProviderKind } from '../config/provider-settings.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { findReply } from './simulator/reply.ts'
import type { SimulatedScenario } from './simulator/scenario.ts'
import { SIMULATED_SCENARIOS } from './simulator/scenarios.ts'
import { parseSimulatedRequest, readRequestBody, type SimulatedVendor } from './simulator/simulated-request.ts'
import type { ReplyWriter, SimulatedExchange } from './simulator/wire-format.ts'

export type { SimulatedScenario } from './simulator/scenario.ts'
export { SIMULATED_SCENARIOS } from './simulator/scenarios.ts'

export interface SimulatorOptions {
  /** Searched before the built-in ones. The first matching reply is used. */
  readonly scenarios?: readonly SimulatedScenario[]
  /** Milliseconds before every answer; default 0. */
  readonly latencyMs?: number
  /** Milliseconds before every streamed chunk (about six words); default 0. */
  readonly chunkDelayMs?: number
  /** Whether scenarios may answer a request once with a rate limit. Default true. */
  readonly faults?: boolean
}

export interface Simulator {
  readonly baseUrls: { readonly [Vendor in SimulatedVendor]: string }
  /**
   * Settings for an adapter of that kind. Throws PROVIDER_NOT_CONFIGURED if the simulator does not speak its protocol.
   */
  endpoint(kind: ProviderKind): { baseUrl: string; apiKey: string; api?: 'responses' | 'chat' }
  /** Closes all connections and resolves when the port is free. */
  close(): Promise<void>
}

/**
 * Starts a server on a free loopback port that answers like OpenAI (Responses and Chat Completions), Anthropic
 * (Messages) and Gemini (generateContent), streamed or not, so that the real SDKs run without keys and network. The
 * answer depends only on the content of the request, never on the order of requests. Every prompt gets an answer, in
 * JSON if the request demands JSON. All texts are invented. The server does not keep the process alive. Rejects with
 * PROVIDER_UNAVAILABLE if no loopback port can be opened.
 */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const { createReplyWriter } = await import('./simulator/wire-format.ts')
  const writer = createReplyWriter({ chunkDelayMs: options.chunkDelayMs ?? 0 })
  const scenarios = [...(options.scenarios ?? []), ...SIMULATED_SCENARIOS]
  const limited = options.faults === false ? undefined : createOncePerRequest()
  const server = createServer((request, response) => {
    respond(request, response, { writer, scenarios, latencyMs: options.latencyMs ?? 0, limited }).catch(() => response.destroy())
  })
  const origin = await listen(server)
  server.unref()
  const baseUrls = { openai: `${origin}/openai/v1`, anthropic: `${origin}/anthropic`, google: `${origin}/google` }
  return {
    baseUrls,
    endpoint(kind) {
      const baseUrl = baseUrlOf(kind, baseUrls)
      return { baseUrl, apiKey: 'simulated', ...(kind === 'openai' && { api: 'responses' }) }
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function baseUrlOf(kind: ProviderKind, baseUrls: Simulator['baseUrls']): string {
  const supported: { readonly [Kind in ProviderKind]?: string } = { ...baseUrls, 'openai-compatible': baseUrls.openai }
  const baseUrl = supported[kind]
  if (baseUrl !== undefined) return baseUrl
  const message = `expected a provider whose protocol the simulator speaks (${Object.keys(supported).join(', ')}), found "${kind}"`
  throw new OrchestratorError('PROVIDER_NOT_CONFIGURED', message, { details: { kind } })
}

interface RespondDeps {
  readonly writer: ReplyWriter
  readonly scenarios: readonly SimulatedScenario[]
  readonly latencyMs: number
  readonly limited?: OncePerRequest
}

async function respond(request: IncomingMessage, response: ServerResponse, deps: RespondDeps): Promise<void> {
  // Ends the stream when the client disconnects: aimock only checks whether the response was ended.
  response.once('close', () => response.end())
  const path = new URL(request.url ?? '/', 'http://simulator').pathname
  if (request.method === 'GET' && path.includes('/models')) return sendModels(response)
  const raw = await readRequestBody(request)
  const simulated = raw === undefined ? undefined : parseSimulatedRequest(path, raw)
  if (!simulated) return sendNotFound(response, path)
  if (deps.latencyMs > 0) await delay(deps.latencyMs, undefined, { ref: false })
  const exchange: SimulatedExchange = { request, response, simulated }
  const reply = findReply(simulated, deps.scenarios)
  if (reply.rateLimited && deps.limited?.isFirst(simulated.raw)) return deps.writer.writeRateLimit(exchange)
  await deps.writer.write(exchange, reply)
}

interface OncePerRequest {
  isFirst(raw: string): boolean
}

/**
 * Rate-limits the first of two equal requests, but only once within two seconds: concurrent runs of one template send
 * equal requests, of which each must get its answer after one retry.
 */
function createOncePerRequest(): OncePerRequest {
  const refusals = new Map<string, { readonly atMs: number; isRepeated: boolean }>()
  return {
    isFirst(raw) {
      const key = createHash('sha1').update(raw).digest('base64')
      const last = refusals.get(key)
      if (last && (!last.isRepeated || Date.now() - last.atMs < 2_000)) {
        last.isRepeated = true
        return false
      }
      if (refusals.size >= MAX_REFUSED) refusals.clear()
      refusals.set(key, { atMs: Date.now(), isRepeated: false })
      return true
    },
  }
}

const MAX_REFUSED = 1_000

/** One list of models that all three SDKs can read. Requested by `ping`. */
function sendModels(response: ServerResponse): void {
  const model = { id: 'simulated', name: 'models/simulated', object: 'model', type: 'model', created: 0, owned_by: 'simulator' }
  sendJson(response, 200, {
    object: 'list',
    data: [model],
    models: [model],
    has_more: false,
    first_id: model.id,
    last_id: model.id,
  })
}

const sendNotFound = (response: ServerResponse, path: string): void =>
  sendJson(response, 404, { error: { message: `The simulator has no route ${path}`, type: 'not_found_error', code: 404 } })

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(OrchestratorError.from(error, 'PROVIDER_UNAVAILABLE', { provider: 'simulator' })))
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  if (address === null || typeof address === 'string') {
    throw new OrchestratorError('INTERNAL', 'expected the simulator to listen on a port')
  }
  return `http://127.0.0.1:${address.port}`
}
