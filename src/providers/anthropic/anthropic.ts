import type { Anthropic, ClientOptions } from '@anthropic-ai/sdk'
import type { FinishReason, ModelRequest, ModelResponse, ToolCall } from '../../domain/model-call.ts'
import { type AdapterSettings, fixedHeadersOf } from '../adapter-settings.ts'
import { toApiRoot } from '../api-root.ts'
import { countOf, type ForeignRecord, listOf, recordOf, textOf } from '../foreign-json.ts'
import type { GenerateOptions, Provider } from '../provider.ts'
import { createTransport, type VendorFetch } from '../transport/transport.ts'
import { type AttemptState, toBadReply, toConnectionError, toVendorError } from '../vendor-error.ts'
import { NO_TIMEOUT_MS, privateTextsOf, readAnswer, readModelList, withLinkedSignal } from '../vendor-http.ts'
import { toAnthropicRequest } from './anthropic-request.ts'
import { createAnthropicUsage } from './anthropic-usage.ts'

const OWN_BASE_URL = 'https://api.anthropic.com'
const END_MARK = '"message_stop"'

/** Stop reasons of the Messages API (SDK 1.10.0, November 2026); `refusal` and `tool_use` need no look at the content. */
// A map: a vendor's word must not reach what every object inherits.
const FINISH: ReadonlyMap<string, FinishReason> = new Map(
  Object.entries<FinishReason>({
    end_turn: 'stop',
    stop_sequence: 'stop',
    max_tokens: 'length',
    model_context_window_exceeded: 'length',
    tool_use: 'tool_calls',
    refusal: 'refusal',
    pause_turn: 'other',
  }),
)

/** Speaks the Messages API through `@anthropic-ai/sdk`, which sends; the answers are read here, byte by byte. */
export async function createAnthropicProvider(settings: AdapterSettings): Promise<Provider> {
  const [sdk, { transformJSONSchema }] = await Promise.all([
    import('@anthropic-ai/sdk'),
    import('@anthropic-ai/sdk/lib/transform-json-schema'),
  ])
  const { id } = settings
  const { fetch, secrets } = createTransport(settings)
  const client = new sdk.Anthropic(toClientOptions(settings, fetch))
  const account = { provider: id, secrets }

  async function generate(request: ModelRequest, { signal, onDelta, onActivity }: GenerateOptions): Promise<ModelResponse> {
    const { body, headers, notes } = toAnthropicRequest(request, onDelta !== undefined, transformJSONSchema)
    const answer = createAnswer(request.model, notes, onDelta)
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

interface ToolCallParts {
  readonly id?: string
  readonly name: string
  readonly input: unknown
  json: string
}

/** Gathers one answer, whole or event by event. */
function createAnswer(requestedModel: string, requestNotes: readonly string[], onDelta: GenerateOptions['onDelta']) {
  const usage = createAnthropicUsage()
  const tools = new Map<number, ToolCallParts>()
  let text = ''
  let reasoning = ''
  let model: string | undefined
  let stopReason: string | undefined
  let refusal: string | undefined
  let begun = false
  let whole = false

  function addText(piece: string) {
    if (!piece) return
    text += piece
    onDelta?.(piece)
  }

  function addBlock(block: ForeignRecord, index: number) {
    if (block.type === 'text') addText(textOf(block.text) ?? '')
    else if (block.type === 'thinking') reasoning += textOf(block.thinking) ?? ''
    else if (block.type === 'tool_use')
      tools.set(index, { id: textOf(block.id), name: textOf(block.name) ?? '', input: block.input, json: '' })
  }

  function addDelta(delta: ForeignRecord, index: number) {
    if (delta.type === 'text_delta') addText(textOf(delta.text) ?? '')
    else if (delta.type === 'thinking_delta') reasoning += textOf(delta.thinking) ?? ''
    else if (delta.type === 'input_json_delta') {
      const tool = tools.get(index)
      if (tool) tool.json += textOf(delta.partial_json) ?? ''
    }
  }

  function addStop(fields: ForeignRecord) {
    stopReason = textOf(fields.stop_reason) ?? stopReason
    refusal = textOf(recordOf(fields.stop_details).explanation) ?? refusal
  }

  function begin(message: ForeignRecord) {
    begun = true
    model = textOf(message.model) ?? model
    usage.add(recordOf(message.usage))
    listOf(message.content).forEach((block, index) => {
      addBlock(recordOf(block), index)
    })
    addStop(message)
  }

  const events: Readonly<Record<string, (event: ForeignRecord) => void>> = {
    message_start: ({ message }) => begin(recordOf(message)),
    content_block_start: ({ content_block, index }) => addBlock(recordOf(content_block), countOf(index) ?? 0),
    content_block_delta: ({ delta, index }) => addDelta(recordOf(delta), countOf(index) ?? 0),
    message_delta: ({ delta, usage: latest }) => {
      addStop(recordOf(delta))
      usage.add(recordOf(latest))
    },
    message_stop: () => {
      whole = true
    },
  }

  return {
    isWhole: () => whole,
    known: () => (begun ? { usage: usage.total(), model, generated: true } : { generated: false }),
    addEvent(event: ForeignRecord, state: () => AttemptState) {
      if (event.type === 'error') throw toVendorError({ ...state(), body: event })
      events[textOf(event.type) ?? '']?.(event)
      return whole
    },
    addMessage(parsed: unknown, state: () => AttemptState) {
      const message = recordOf(parsed)
      // Proxies answer with status 200 and the error in the body.
      if (message.type === 'error' || message.error) throw toVendorError({ ...state(), body: message })
      if (message.type !== 'message' || !Array.isArray(message.content)) throw toBadReply('JSON that is no message', state())
      begin(message)
      whole = true
    },
    response(): ModelResponse {
      const known = FINISH.get(stopReason ?? '')
      const toolCalls = [...tools.values()].map(toToolCall)
      return {
        text,
        ...(refusal && { refusal }),
        ...(reasoning && { reasoningText: reasoning }),
        ...(toolCalls.length > 0 && { toolCalls }),
        finishReason: known ?? 'other',
        model: model ?? requestedModel,
        usage: usage.total(),
        notes: [...requestNotes, ...usage.notes(), ...(known ? [] : [`Anthropic stopped with "${stopReason ?? 'no reason'}"`])],
      }
    },
  }
}

const toToolCall = ({ id, name, input, json }: ToolCallParts): ToolCall => ({
  ...(id && { id }),
  name,
  arguments: json || JSON.stringify(input ?? {}),
})
