import type { Anthropic, ClientOptions } from '@anthropic-ai/sdk'
import type { ModelRequest, ModelResponse } from '../../domain/execution/model-call.ts'
import { type AdapterSettings, fixedHeadersOf } from '../adapter-settings.ts'
import type { GenerateOptions, Provider } from '../provider.ts'
import { createVendorTransport, type VendorFetch } from '../transport/transport.ts'
import { toApiRoot } from '../vendor/api-root.ts'
import { type ForeignRecord, recordOf } from '../vendor/foreign-json.ts'
import { type AttemptState, toConnectionError, toVendorError } from '../vendor/vendor-error.ts'
import { NO_TIMEOUT_MS, privateTextsOf, readAnswer, readModelList, withLinkedSignal } from '../vendor/vendor-http.ts'
import { createAnthropicAnswer } from './anthropic-answer.ts'
import { toAnthropicRequest } from './anthropic-request.ts'

const OWN_BASE_URL = 'https://api.anthropic.com'
const END_MARK = 'a stop_reason'

/** Speaks the Messages API through `@anthropic-ai/sdk`, which sends; the answers are read here, byte by byte. */
export async function createAnthropicProvider(settings: AdapterSettings): Promise<Provider> {
  const [sdk, { transformJSONSchema }] = await Promise.all([
    import('@anthropic-ai/sdk'),
    import('@anthropic-ai/sdk/lib/transform-json-schema'),
  ])
  const { id } = settings
  const { fetch, secrets } = createVendorTransport(settings)
  const client = new sdk.Anthropic(toClientOptions(settings, fetch))
  const account = { provider: id, secrets }

  async function generate(request: ModelRequest, options: GenerateOptions): Promise<ModelResponse> {
    const { signal, onDelta, onActivity } = options
    const { body, headers, notes } = toAnthropicRequest(request, onDelta !== undefined, transformJSONSchema)
    const answer = createAnthropicAnswer(request.model, notes, options)
    const state = (): AttemptState => ({
      ...account,
      privateTexts: privateTextsOf(request),
      ...answer.known(),
    })
    return withLinkedSignal(signal, state, async (linked) => {
      const response = await send(client, sdk, '/v1/messages', { body, headers, signal: linked }, state)
      await readAnswer(response, {
        streams: onDelta !== undefined,
        onEvent: (event) => answer.addEvent(recordOf(event), state),
        onWhole: (reply) => answer.addMessage(reply, state),
        onActivity,
        endMark: END_MARK,
        isWhole: answer.isWhole,
        state,
      })
      return answer.response()
    })
  }

  return {
    id,
    kind: 'anthropic',
    vendor: settings.vendor,
    simulated: settings.simulated,
    generate,
    async ping(signal) {
      const state = (): AttemptState => account
      await withLinkedSignal(signal, state, async (linked) => {
        const response = await send(client, sdk, '/v1/models?limit=1', { signal: linked }, state)
        await readModelList(response, 'data', state)
      })
    },
  }
}

function toClientOptions(settings: AdapterSettings, fetch: VendorFetch): ClientOptions {
  const { apiKey, baseUrl = OWN_BASE_URL } = settings
  const isOwnOrigin = new URL(baseUrl).origin === OWN_BASE_URL
  return {
    baseURL: toApiRoot(baseUrl, 'anthropic'),
    // Without any key the SDK looks for credentials in files of the user and sends those.
    apiKey: apiKey ?? 'none',
    defaultHeaders: {
      ...(!isOwnOrigin && withoutCustomHeaders()),
      // The SDK sends the key as a bearer token; gateways and the simulator know the older header, which the API prefers.
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

/** The SDK adds the headers of ANTHROPIC_CUSTOM_HEADERS, which may hold secrets, to every request; null removes them. */
function withoutCustomHeaders(): Record<string, null> {
  const names = (process.env.ANTHROPIC_CUSTOM_HEADERS ?? '').split('\n').map((line) => line.slice(0, line.indexOf(':')).trim())
  return Object.fromEntries(names.filter((name) => name !== '').map((name) => [name, null]))
}

interface Sending {
  /** Absent: a GET. */
  readonly body?: ForeignRecord
  readonly headers?: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

/** `messages.create` would warn on the console about models and read the answer with a parser that hides pings, so the plain verbs are used. */
async function send(
  client: Anthropic,
  sdk: typeof import('@anthropic-ai/sdk'),
  path: string,
  options: Sending,
  state: () => AttemptState,
): Promise<Response> {
  try {
    return await (options.body ? client.post(path, options) : client.get(path, options)).asResponse()
  } catch (error) {
    if (!(error instanceof sdk.APIError)) throw toConnectionError(error, state())
    if (error.status === undefined) throw toConnectionError(error.cause ?? error, state())
    throw toVendorError({ ...state(), status: error.status, headers: error.headers, body: error.error ?? plainText(error) })
  }
}

/** The SDK puts the status before a body that is no JSON. */
const plainText = (error: Error) => error.message.replace(/^\d+ /, '')
