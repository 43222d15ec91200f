import type { FilePart, ModelRequest, ModelResponse } from '../../domain/execution/model-call.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { AdapterSettings } from '../adapter-settings.ts'
import type { GenerateOptions, Provider } from '../provider.ts'
import { createRelaySignal } from '../transport/relay-signal.ts'
import { createVendorTransport, type VendorFetch } from '../transport/transport.ts'
import { toApiRoot } from '../vendor/api-root.ts'
import { filesOf, type LoadedFiles, loadFiles, NO_LOADED_FILES } from '../vendor/loaded-files.ts'
import type { OptionsOwner } from '../vendor/request-options.ts'
import { type AttemptState, toBadReply, toConnectionError, toVendorError } from '../vendor/vendor-error.ts'
import {
  hasDotSegment,
  keepAbortFacts,
  NO_TIMEOUT_MS,
  privateTextsOf,
  readAnswer,
  toNoSuchModel,
  withLinkedSignal,
} from '../vendor/vendor-http.ts'
import type { OpenAiRequest, StreamedAnswer } from './answer.ts'
import { createChatReader } from './chat/chat.ts'
import { isReadForChat } from './chat/chat-files.ts'
import { toChatRequest } from './chat/chat-request.ts'
import { toUsableGeneration } from './chat-failure.ts'
import { toClientHeaders } from './client-headers.ts'
import { type ChatDialect, OPENAI_DIALECT, withAccount } from './dialect.ts'
import { createRefusedParameters } from './refused-parameters.ts'
import { createResponsesReader } from './responses/responses.ts'
import { isReadForResponses } from './responses/responses-input.ts'
import { toResponsesRequest } from './responses/responses-request.ts'

const OPENAI_BASE_URL = 'https://api.openai.com/v1'

/** How a compatible service differs from OpenAI. */
export interface OpenAiVariant {
  readonly kind: string
  readonly dialect: ChatDialect
  /** Header of the key; default `authorization`. */
  readonly keyHeader?: 'api-key'
  /** Whether the model is part of the path (Azure with an API version). */
  readonly deployments?: boolean
}

/**
 * Maximum number of times that one request is repeated with another rejected field changed, before its error is
 * returned.
 */
const MAX_ADJUSTMENTS = 5

const OPENAI: OpenAiVariant = { kind: 'openai', dialect: OPENAI_DIALECT }

/** A provider for OpenAI, or for any server with its protocol at `baseUrl`. Loads the SDK. */
export async function createOpenAiProvider(settings: AdapterSettings, variant: OpenAiVariant = OPENAI): Promise<Provider> {
  const { APIError, APIConnectionError, OpenAI: Client } = await import('openai')
  const { id, vendor, simulated } = settings
  const baseUrl = toApiRoot(settings.baseUrl ?? OPENAI_BASE_URL, 'openai')
  const { fetch, secrets } = createVendorTransport(settings)
  const account = { provider: id, secrets }
  const isOpenAi = new URL(baseUrl).origin === new URL(OPENAI_BASE_URL).origin
  const api = settings.api ?? (isOpenAi ? 'responses' : 'chat')
  const client = new Client({
    apiKey: settings.apiKey ?? 'none',
    baseURL: baseUrl,
    maxRetries: 0,
    timeout: NO_TIMEOUT_MS,
    // The SDK would read these from the environment. Credentials for OpenAI must not be sent to another origin.
    adminAPIKey: null,
    webhookSecret: null,
    ...(!isOpenAi && { organization: null, project: null }),
    // The SDK logs texts that it cannot parse, and with OPENAI_LOG=debug whole requests.
    logLevel: 'off',
    defaultHeaders: toClientHeaders(settings, variant.keyHeader, isOpenAi),
    ...(settings.apiVersion && { defaultQuery: { 'api-version': settings.apiVersion } }),
    fetch: withWholeErrors(fetch),
  })

  const refused = createRefusedParameters(id)
  // Servers at other addresses mostly run open models, which may write think tags.
  const own = variant === OPENAI && !isOpenAi ? { ...OPENAI_DIALECT, thinkTags: true } : variant.dialect
  const dialect = withAccount(own, settings)

  const owner: OptionsOwner = { id, kind: variant.kind, options: settings.options }
  const isRead = api === 'chat' ? (file: FilePart) => isReadForChat(file, dialect) : isReadForResponses

  function generate(request: ModelRequest, options: GenerateOptions): Promise<ModelResponse> {
    if (options.signal.aborted) return Promise.reject(options.signal.reason)
    if (variant.deployments && hasDotSegment(request.model)) return Promise.reject(toNoSuchModel(id))
    const loading = loadFiles(filesOf(request).filter(isRead), options.signal)
    return loading ? loading.then((files) => send(request, options, files)) : send(request, options, NO_LOADED_FILES)
  }

  function send(request: ModelRequest, options: GenerateOptions, files: LoadedFiles): Promise<ModelResponse> {
    const streams = options.onDelta !== undefined
    try {
      const outgoing =
        api === 'chat'
          ? toChatRequest(request, { account: owner, files, streams, dialect })
          : toResponsesRequest(request, { account: owner, files, streams, names: dialect.fieldNamesOf?.(request.model) })
      return sendAdjusted(request, options, files, outgoing, MAX_ADJUSTMENTS)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  // Not async: thousands of requests wait here at once, and a suspended function uses several times the memory of a
  // callback.
  function sendAdjusted(
    request: ModelRequest,
    options: GenerateOptions,
    files: LoadedFiles,
    original: OpenAiRequest,
    adjustmentsLeft: number,
  ): Promise<ModelResponse> {
    const { signal, onDelta, onActivity } = options
    const outgoing = refused.adjust(request, original)
    const { path, body, notes } = outgoing
    let reader: StreamedAnswer | undefined
    const openReader = () => {
      reader =
        api === 'chat'
          ? createChatReader(initialStateOf(request, files), dialect, options)
          : createResponsesReader(initialStateOf(request, files), dialect, options)
      return reader
    }
    const relay = createRelaySignal(signal)
    const fullPath = variant.deployments ? `/deployments/${encodeURIComponent(request.model)}${path}` : path
    const read = post(fullPath, body, relay).then((response) =>
      response.ok ? readInto(openReader(), response, onDelta, onActivity) : rejectWith(response),
    )
    return read.then(
      (reader) => {
        relay.release()
        signal.throwIfAborted()
        return reader.toModelResponse(notes)
      },
      (error) => {
        relay.abort()
        relay.release()
        const state = reader?.state() ?? initialStateOf(request, files)
        if (!signal.aborted) {
          const generation = error instanceof RejectedRequest && toUsableGeneration(error.body)
          if (generation) {
            const errorReader = openReader()
            const text = errorReader.readEvent(error.body) + errorReader.endText()
            if (text !== '') onDelta?.(text)
            return errorReader.toModelResponse(notes)
          }
          const failure = toFailure(error, state)
          if (adjustmentsLeft > 0 && !state.generated && refused.learn(request, outgoing, failure)) {
            return sendAdjusted(request, options, files, original, adjustmentsLeft - 1)
          }
          throw failure
        }
        keepAbortFacts(signal, state)
        throw signal.reason
      },
    )
  }

  let headers: Promise<Headers> | undefined
  let last: { readonly path: string; readonly url: string } | undefined

  /**
   * Builds address and headers with the SDK once, because the SDK's own requests build both every time and write to its
   * log.
   */
  async function post(path: string, body: object, signal: AbortSignal): Promise<Response> {
    headers ??= client.buildRequest({ method: 'post', path, body: {} }).then(({ req }) => req.headers)
    const init = { method: 'POST', headers: await headers, body: JSON.stringify(body), signal }
    signal.throwIfAborted()
    if (last?.path !== path) last = { path, url: client.buildURL(path, undefined) }
    try {
      return await fetch(last.url, init)
    } catch (error) {
      throw OrchestratorError.is(error) ? error : new FailedSending(error)
    }
  }

  const initialStateOf = (request: ModelRequest, files: LoadedFiles): AttemptState & { readonly model: string } => ({
    ...account,
    model: request.model,
    get privateTexts() {
      return privateTextsOf(request, files)
    },
  })

  function toFailure(error: unknown, state: AttemptState): unknown {
    if (OrchestratorError.is(error)) return error
    if (error instanceof FailedSending) return toConnectionError(error.cause, state)
    if (error instanceof RejectedRequest) {
      const { status, headers, body } = error
      return toVendorError({ ...state, status, headers, body })
    }
    if (error instanceof APIConnectionError) return toConnectionError(error.cause ?? error, state)
    if (error instanceof APIError) {
      return toVendorError({ ...state, status: error.status, headers: error.headers, body: error.error })
    }
    return error instanceof SyntaxError ? toBadReply('no valid JSON', state) : error
  }

  return {
    id,
    kind: variant.kind,
    vendor,
    simulated,
    generate,
    ping: (signal) =>
      withLinkedSignal(
        signal,
        () => account,
        async (linked) => {
          try {
            await client.get<unknown>('/models', { signal: linked })
          } catch (error) {
            // A 404 shows that the server is reachable and only has no list of models.
            if (error instanceof APIError && error.status === 404) return
            throw toFailure(error, account)
          }
        },
      ),
  }
}

/** The request failed without a response. */
class FailedSending extends Error {
  constructor(cause: unknown) {
    super('no response', { cause })
  }
}

/** The vendor responded with an error status. */
class RejectedRequest extends Error {
  readonly status: number
  readonly headers: Headers
  readonly body: unknown

  constructor(status: number, headers: Headers, body: unknown) {
    super('rejected')
    this.status = status
    this.headers = headers
    this.body = body
  }
}

const rejectWith = async (response: Response): Promise<never> => {
  throw new RejectedRequest(response.status, response.headers, parseOrText(await response.text()))
}

/**
 * Wraps error bodies in `error`, the only field that the SDK keeps: Mistral, xAI and FastAPI put the message beside it.
 */
const withWholeErrors =
  (fetch: VendorFetch): VendorFetch =>
  (input, init) =>
    fetch(input, init).then((response) => (response.ok || response.status === 304 ? response : withWholeError(response)))

async function withWholeError(response: Response): Promise<Response> {
  const { status, headers } = response
  return new Response(JSON.stringify({ error: parseOrText(await response.text()) }), { status, headers })
}

function parseOrText(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function readInto(
  reader: StreamedAnswer,
  response: Response,
  onDelta: ((text: string) => void) | undefined,
  onActivity: (() => void) | undefined,
): Promise<StreamedAnswer> {
  const deliver = (text: string) => {
    if (text !== '') onDelta?.(text)
  }
  const reading = readAnswer(response, {
    streams: onDelta !== undefined,
    onEvent: (event) => {
      deliver(reader.readEvent(event))
      return reader.isClosed()
    },
    onWhole: (reply) => deliver(reader.readWhole(reply)),
    onActivity,
    endMark: 'its end mark',
    isWhole: (isMarked) => {
      if (reader.isFinished()) return true
      if (isMarked && !reader.state().generated) throw toBadReply('an end mark without an answer', reader.state())
      return isMarked
    },
    state: reader.state,
  })
  return reading.then(() => {
    deliver(reader.endText())
    return reader
  })
}
