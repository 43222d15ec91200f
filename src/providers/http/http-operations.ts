import { Agent, type Dispatcher, ProxyAgent } from 'undici'
import { operationSecretsOf } from '../../config/operations/operation-secrets.ts'
import type { HttpOperationSettings, HttpProviderSettings } from '../../config/operations/operation-settings.ts'
import { withCallFacts } from '../../domain/execution/call-facts.ts'
import type { ModelResponse } from '../../domain/execution/model-call.ts'
import { NO_TOKENS } from '../../domain/execution/usage.ts'
import type { CallOrigin } from '../../domain/tools/call-origin.ts'
import { type OperationSchema, toOperationSchema } from '../../domain/tools/operation-schema.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { createPublicLookup, isLiteralHost, type ResolveName } from '../../system/public-addresses.ts'
import { MIN_SECRET, secretsOf } from '../adapter-settings.ts'
import { operationProblem, unknownOperation } from '../operation-errors.ts'
import type { Provider, ProviderOperation } from '../provider.ts'
import { createHeadersSource } from '../transport/account-headers.ts'
import { findEnvironmentProxy, toProxyUrl } from '../transport/proxy.ts'
import { proxyToken } from '../transport/url-credentials.ts'
import { networkCodeOf, toConnectionError, toVendorError } from '../vendor/vendor-error.ts'
import { toOperationAnswer } from './operation-answer.ts'
import { defaultInput, fillOperation, findArgumentProblems, textsIn } from './operation-request.ts'
import { readBounded } from './read-bounded.ts'

export interface HttpOperationsSettings extends Omit<HttpProviderSettings, 'kind' | 'active'> {
  readonly id: string
  /** Resolves names of hosts. Default: the resolver of the system. */
  readonly resolve?: ResolveName
  /** Opens the connections of requests that use no proxy. Default: one that keeps to `allowPrivateAddresses`. */
  readonly dispatcher?: Dispatcher
  readonly environment?: NodeJS.ProcessEnv
}

const IDEMPOTENT_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'PUT', 'DELETE'])

/** The call layers bound the time. */
const NO_TIMEOUTS = { headersTimeout: 0, bodyTimeout: 0 }

interface Registered {
  readonly settings: HttpOperationSettings
  readonly operation: ProviderOperation
  readonly output: OperationSchema | undefined
}

/**
 * A provider whose operations are requests to one server. The operator fixes the address; arguments reach no part of it
 * but the path below `baseUrl` and the query. Redirects are errors. Throws CONFIG_INVALID.
 */
export function createHttpOperations(settings: HttpOperationsSettings): Provider {
  const { id, baseUrl } = settings
  const base = new URL(baseUrl)
  const basePath = base.pathname.replace(/\/+$/, '')
  const ofOperations = operationSecretsOf(settings.operations).filter(({ length }) => length >= MIN_SECRET)
  const secrets = [...secretsOf({ ...settings, apiKey: undefined }), ...ofOperations]
  const registered = new Map(Object.entries(settings.operations).map(([name, one]) => [name, register(id, name, one)]))
  const operations = [...registered.values()].map(({ operation }) => operation)
  const dispatcher = createDispatcher(base, settings)
  const headersOf = toHeadersSource(settings, secrets)

  async function send(
    name: string,
    { settings: operation, output }: Registered,
    given: Readonly<Record<string, unknown>>,
    origin: CallOrigin,
    signal: AbortSignal,
  ): Promise<ModelResponse> {
    const problems = findArgumentProblems(operation, given)
    if (problems.length > 0) throw unfitArguments(id, name, problems)
    const request = fillOperation(operation, basePath, given)
    const state = { provider: id, secrets, privateTexts: textsIn(given) }
    const headers = {
      accept: 'application/json, text/*;q=0.9, */*;q=0.8',
      'user-agent': 'polyphony',
      ...(request.body !== undefined && { 'content-type': 'application/json' }),
      ...(operation.method !== 'GET' && operation.method !== 'HEAD' && { 'idempotency-key': origin.idempotencyKey }),
      ...request.headers,
      ...Object.fromEntries(await headersOf()),
    }
    signal.throwIfAborted()
    let response: Dispatcher.ResponseData
    try {
      response = await dispatcher.request({
        origin: base.origin,
        path: request.path,
        method: operation.method,
        headers,
        body: request.body,
        signal,
        ...NO_TIMEOUTS,
      })
    } catch (error) {
      if (signal.aborted) throw signal.reason
      throw networkCodeOf(error) === 'ADDRESS_NOT_PUBLIC' ? notPublic(id, base) : toConnectionError(error, state)
    }
    const status = response.statusCode
    const isOk = status >= 200 && status < 300
    const body = await readBounded(response.body, isOk ? operation.maxBytes : MAX_ERROR_BYTES, signal).catch((error) => {
      throw signal.aborted ? signal.reason : toConnectionError(error, { ...state, usage: NO_TOKENS })
    })
    const contentType = String(response.headers['content-type'] ?? '').toLowerCase()
    if (!isOk) {
      const get = (header: string) => {
        const value = response.headers[header]
        return value === undefined ? null : String(value)
      }
      throw toVendorError({ ...state, status, headers: { get }, body: toErrorBody(body.bytes) })
    }
    if (body.isCut) throw operationProblem(id, name, `expected at most ${operation.maxBytes} bytes, found more (maxBytes)`)
    const answer = toOperationAnswer(name, { contentType, bytes: body.bytes }, operation.answer)
    if ('problem' in answer) throw operationProblem(id, name, answer.problem)
    const unusable = output?.check(answer.value, 'result') ?? []
    if (unusable.length > 0) throw operationProblem(id, name, unusable.join('; '))
    return answer
  }

  return {
    id,
    kind: 'http',
    vendor: 'http',
    simulated: false,
    operations: async () => operations,
    async generate({ model, arguments: given }, { signal, origin }) {
      signal.throwIfAborted()
      const found = registered.get(model)
      if (!found || !given || !origin) throw unknownOperation(id, model, registered.keys(), found !== undefined)
      // A request uses no tokens, also where it is aborted.
      withCallFacts(signal, { usage: NO_TOKENS, generated: false })
      const { timeoutMs } = found.settings
      const bounded = timeoutMs === undefined ? signal : AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
      try {
        return await send(model, found, given, origin, bounded)
      } catch (error) {
        if (signal.aborted) throw signal.reason
        throw bounded.aborted ? tooSlow(id, model, timeoutMs) : error
      }
    },
    async close() {
      // One that was given has other users.
      if (dispatcher !== settings.dispatcher) await dispatcher.destroy()
    },
  }
}

/** Bytes of the body of a failed request that are read for its message. */
const MAX_ERROR_BYTES = 65_536

function register(id: string, name: string, settings: HttpOperationSettings): Registered {
  const at = `providers.${id}.operations.${name}`
  const input = toSchema(`${at}.input`, settings.input ?? defaultInput(settings))
  const output = settings.output && toSchema(`${at}.output`, settings.output)
  const { description, idempotent = IDEMPOTENT_METHODS.has(settings.method), approval = false, expose = 'code' } = settings
  const check = (given: unknown): readonly string[] => {
    const problems = input.check(given, 'arguments')
    return problems.length > 0 ? problems : findArgumentProblems(settings, { ...Object(given) })
  }
  const operation: ProviderOperation = {
    name,
    ...(description !== undefined && { description }),
    input: input.json,
    ...(output && { output: output.json }),
    idempotent,
    approval,
    expose,
    check,
  }
  return { settings, operation, output }
}

function toSchema(key: string, given: Parameters<typeof toOperationSchema>[0]): OperationSchema {
  try {
    return toOperationSchema(given)
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error)
    throw new OrchestratorError('CONFIG_INVALID', `${key}: expected a JSON Schema that can be checked: ${found}`, {
      cause: error,
    })
  }
}

/**
 * Over a proxy, the proxy resolves the name. Without one the socket connects to the addresses that were checked. An
 * address that the configuration names literally is reached wherever it is.
 */
function createDispatcher(base: URL, settings: HttpOperationsSettings): Dispatcher {
  const { id, proxy, allowPrivateAddresses, resolve, environment = process.env } = settings
  const via = proxy === undefined ? findEnvironmentProxy(base, environment) : toProxyUrl(proxy, `providers.${id}.proxy`)
  if (via) {
    const token = proxyToken(via)
    return new ProxyAgent({
      uri: `${via.origin}/`,
      ...(token !== undefined && { token }),
      proxyTunnel: base.protocol === 'https:',
    })
  }
  if (settings.dispatcher) return settings.dispatcher
  const isChecked = !allowPrivateAddresses && !isLiteralHost(base.hostname)
  return new Agent({ ...NO_TIMEOUTS, ...(isChecked && { connect: { lookup: createPublicLookup(resolve) } }) })
}

function toHeadersSource({ id, headers = {} }: HttpOperationsSettings, secrets: string[]) {
  if (typeof headers === 'function') return createHeadersSource(id, headers, secrets)
  const fixed = new Headers(headers)
  return async () => fixed
}

function toErrorBody(bytes: Uint8Array): unknown {
  const text = new TextDecoder().decode(bytes)
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

const notPublic = (id: string, { hostname }: URL): OrchestratorError =>
  new OrchestratorError(
    'PROVIDER_REJECTED',
    `Provider "${id}": expected ${hostname} to have only addresses of the public Internet, found another one; set providers.${id}.allowPrivateAddresses if this is intended`,
    { details: { provider: id } },
  )

const unfitArguments = (provider: string, operation: string, problems: readonly string[]): OrchestratorError =>
  new OrchestratorError('INPUT_INVALID', `${provider}/${operation}: ${problems.join('; ')}`, {
    details: { provider, operation, problems },
  })

const tooSlow = (id: string, operation: string, timeoutMs: number | undefined): OrchestratorError =>
  new OrchestratorError('PROVIDER_UNAVAILABLE', `Expected ${id}/${operation} to answer within ${timeoutMs} ms`, {
    details: { provider: id, operation, timeout: 'operation', timeoutMs },
  })
