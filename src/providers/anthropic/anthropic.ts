import type { ClientOptions } from '@anthropic-ai/sdk'
import { type AdapterSettings, fixedHeadersOf } from '../adapter-settings.ts'
import type { Provider } from '../provider.ts'
import { createVendorTransport, type VendorFetch } from '../transport/transport.ts'
import { toApiRoot } from '../vendor/api-root.ts'
import { createHttpProvider } from '../vendor/http-provider.ts'
import { toConnectionError, toVendorError } from '../vendor/vendor-error.ts'
import { NO_TIMEOUT_MS } from '../vendor/vendor-http.ts'
import { createAnthropicAnswer } from './anthropic-answer.ts'
import { filesReadByAnthropic } from './anthropic-files.ts'
import { toAnthropicRequest } from './anthropic-request.ts'

const OWN_BASE_URL = 'https://api.anthropic.com'
const KIND = 'anthropic'
/** Header that lists features in beta. */
const BETA = 'anthropic-beta'

/** A provider for the Messages API. `@anthropic-ai/sdk` sends the requests; this module reads the answers. */
export async function createAnthropicProvider(settings: AdapterSettings): Promise<Provider> {
  const [sdk, { transformJSONSchema }] = await Promise.all([
    import('@anthropic-ai/sdk'),
    import('@anthropic-ai/sdk/lib/transform-json-schema'),
  ])
  const { id } = settings
  const { fetch, secrets } = createVendorTransport(settings)
  const beta = Object.entries(fixedHeadersOf(settings)).find(([name]) => name.toLowerCase() === BETA)?.[1]
  const client = new sdk.Anthropic(toClientOptions(settings, fetch))

  return createHttpProvider(settings, {
    kind: KIND,
    secrets,
    endMark: 'a stop_reason',
    models: { path: '/v1/models?limit=1', field: 'data' },
    filesToRead: (request) => filesReadByAnthropic(request, id),
    startAttempt(request, options, files) {
      const { body, headers, notes } = toAnthropicRequest(request, {
        id,
        kind: KIND,
        options: settings.options,
        stream: options.onDelta !== undefined,
        transform: transformJSONSchema,
        files,
      })
      return {
        outgoing: { path: '/v1/messages', body, headers: withOwnBeta(headers, beta) },
        answer: createAnthropicAnswer(request, id, notes, options),
      }
    },
    // The SDK's plain verbs, because `messages.create` logs warnings about models and its stream parser hides pings.
    async send({ path, body, headers }, signal, state) {
      try {
        return await (body ? client.post(path, { body, headers, signal }) : client.get(path, { signal })).asResponse()
      } catch (error) {
        if (!(error instanceof sdk.APIError)) throw toConnectionError(error, state())
        if (error.status === undefined) throw toConnectionError(error.cause ?? error, state())
        throw toVendorError({ ...state(), status: error.status, headers: error.headers, body: error.error ?? plainText(error) })
      }
    },
  })
}

function toClientOptions(settings: AdapterSettings, fetch: VendorFetch): ClientOptions {
  const { apiKey, baseUrl = OWN_BASE_URL } = settings
  const isOwnOrigin = new URL(baseUrl).origin === OWN_BASE_URL
  return {
    baseURL: toApiRoot(baseUrl, 'anthropic'),
    // Without a key the SDK would read credentials from the user's files and send those.
    apiKey: apiKey ?? 'none',
    defaultHeaders: {
      ...(!isOwnOrigin && withoutCustomHeaders()),
      // Replaces the SDK's bearer token by the header that the API prefers, and that gateways and the simulator know.
      authorization: null,
      ...(apiKey && { 'x-api-key': apiKey }),
      ...fixedHeadersOf(settings),
    },
    maxRetries: 0,
    timeout: NO_TIMEOUT_MS,
    openTelemetry: false,
    logLevel: 'off',
    fetch,
  }
}

/** A header of a request replaces the one of the account, so the features of both are listed. */
const withOwnBeta = (headers: Readonly<Record<string, string>>, own: string | undefined) =>
  own !== undefined && headers[BETA] !== undefined ? { ...headers, [BETA]: `${own},${headers[BETA]}` } : headers

/**
 * The SDK adds the headers of ANTHROPIC_CUSTOM_HEADERS, which may hold secrets, to every request. A null removes
 * them.
 */
function withoutCustomHeaders(): Record<string, null> {
  const names = (process.env.ANTHROPIC_CUSTOM_HEADERS ?? '').split('\n').map((line) => line.slice(0, line.indexOf(':')).trim())
  return Object.fromEntries(names.filter((name) => name !== '').map((name) => [name, null]))
}

/** Removes the status that the SDK puts before a body that is not JSON. */
const plainText = (error: Error) => error.message.replace(/^\d+ /, '')
