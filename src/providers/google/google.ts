import type { FinishReason, ModelRequest, ModelResponse, ToolCall } from '../../domain/model-call.ts'
import { type AdapterSettings, fixedHeadersOf } from '../adapter-settings.ts'
import { toApiRoot } from '../api-root.ts'
import { type ForeignRecord, listOf, recordOf, textOf } from '../foreign-json.ts'
import type { GenerateOptions, Provider } from '../provider.ts'
import { createTransport } from '../transport/transport.ts'
import { type AttemptState, toBadReply, toConnectionError, toContentFiltered, toVendorError } from '../vendor-error.ts'
import {
  leadsElsewhere,
  privateTextsOf,
  readAnswer,
  readAnswerText,
  readModelList,
  toNoSuchModel,
  withLinkedSignal,
} from '../vendor-http.ts'
import { toGoogleRequest } from './google-request.ts'
import { createGoogleUsage } from './google-usage.ts'

const OWN_BASE_URL = 'https://generativelanguage.googleapis.com'
const END_MARK = 'a finishReason'

/** ai.google.dev/api/generate-content, FinishReason, November 2026. Function calls come with STOP. */
// A map: a vendor's word must not reach what every object inherits.
const FINISH: ReadonlyMap<string, FinishReason> = new Map(
  Object.entries<FinishReason>({
    STOP: 'stop',
    MAX_TOKENS: 'length',
    SAFETY: 'content_filter',
    RECITATION: 'content_filter',
    BLOCKLIST: 'content_filter',
    PROHIBITED_CONTENT: 'content_filter',
    SPII: 'content_filter',
    IMAGE_SAFETY: 'content_filter',
    IMAGE_PROHIBITED_CONTENT: 'content_filter',
    IMAGE_RECITATION: 'content_filter',
  }),
)

/**
 * Speaks the Gemini API in the types of `@google/generative-ai`. The SDK's own transport is not used: it follows redirects and takes the key and
 * the prompt along, drops the headers of errors (`retry-after`), hangs its listener on the caller's signal for good, and buffers streams twice.
 */
export async function createGoogleProvider(settings: AdapterSettings): Promise<Provider> {
  const { id } = settings
  const { fetch, secrets } = createTransport(settings)
  const account = { provider: id, secrets }
  const root = toApiRoot(settings.baseUrl ?? OWN_BASE_URL, 'google')
  const headers = {
    ...fixedHeadersOf(settings),
    'content-type': 'application/json',
    ...(settings.apiKey && { 'x-goog-api-key': settings.apiKey }),
  }

  async function send(path: string, init: RequestInit, state: () => AttemptState): Promise<Response> {
    const response = await fetch(`${root}/${path}`, { ...init, headers }).catch((error: unknown) => {
      throw toConnectionError(error, state())
    })
    if (response.ok) return response
    const text = await readAnswerText(response, state)
    throw toVendorError({ ...state(), status: response.status, headers: response.headers, body: parseErrorBody(text) })
  }

  async function generate(request: ModelRequest, { signal, onDelta, onActivity }: GenerateOptions): Promise<ModelResponse> {
    if (leadsElsewhere(request.model)) throw toNoSuchModel(id)
    const { body, notes } = toGoogleRequest(request)
    const answer = createAnswer(request.model, notes, onDelta)
    const state = (): AttemptState => ({
      ...account,
      privateTexts: privateTextsOf(request),
      ...answer.known(),
    })
    const path = `${toModelPath(request.model)}:${onDelta ? 'streamGenerateContent?alt=sse' : 'generateContent'}`
    return withLinkedSignal(signal, state, async (linked) => {
      const response = await send(path, { method: 'POST', body: JSON.stringify(body), signal: linked }, state)
      await readAnswer(response, {
        streams: onDelta !== undefined,
        onEvent: (event) => answer.addPiece(recordOf(event), state),
        onWhole: (reply) => answer.addWhole(reply, state),
        onActivity,
        endMark: END_MARK,
        isWhole: answer.isFinished,
        state,
      })
      return answer.response()
    })
  }

  return {
    id,
    kind: 'google',
    vendor: settings.vendor,
    simulated: settings.simulated,
    generate,
    async ping(signal) {
      const state = (): AttemptState => account
      await withLinkedSignal(signal, state, async (linked) => {
        const response = await send('models?pageSize=1', { signal: linked }, state)
        await readModelList(response, 'models', state)
      })
    },
  }
}

function toModelPath(model: string): string {
  const path = model.includes('/') ? model : `models/${model}`
  return path.split('/').map(encodeURIComponent).join('/')
}

function parseErrorBody(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** Pieces of a stream may hold other candidates, first in their list. */
const firstCandidate = (piece: ForeignRecord): ForeignRecord =>
  listOf(piece.candidates)
    .map(recordOf)
    .find(({ index = 0 }) => index === 0) ?? {}

/** Gathers one answer, whole or piece by piece. */
function createAnswer(requestedModel: string, requestNotes: readonly string[], onDelta: GenerateOptions['onDelta']) {
  const usage = createGoogleUsage()
  const toolCalls: ToolCall[] = []
  const ignored = new Set<string>()
  let text = ''
  let reasoning = ''
  let model: string | undefined
  let finish: string | undefined
  let begun = false

  function addPart(part: ForeignRecord) {
    const piece = textOf(part.text) ?? ''
    if (part.thought === true) reasoning += piece
    else if (piece) {
      text += piece
      onDelta?.(piece)
    }
    const call = recordOf(part.functionCall)
    const name = textOf(call.name)
    if (name)
      toolCalls.push({ ...(textOf(call.id) && { id: textOf(call.id) }), name, arguments: JSON.stringify(call.args ?? {}) })
    if (part.inlineData !== undefined) ignored.add('inlineData')
  }

  function addPiece(piece: ForeignRecord, state: () => AttemptState): false {
    if (piece.error) throw toVendorError({ ...state(), body: piece })
    const candidate = firstCandidate(piece)
    begun ||= piece.candidates !== undefined || piece.usageMetadata !== undefined
    model = textOf(piece.modelVersion)?.replace(/^models\//, '') ?? model
    usage.add(recordOf(piece.usageMetadata))
    for (const part of listOf(recordOf(candidate.content).parts)) addPart(recordOf(part))
    const reason = textOf(candidate.finishReason)
    if (reason && reason !== 'FINISH_REASON_UNSPECIFIED') finish = reason
    const blocked = textOf(recordOf(piece.promptFeedback).blockReason)
    if (blocked && !finish && text === '') throw toContentFiltered(blocked, state())
    // Usage may follow the finish reason, and there is no other end mark: the stream is read to its end.
    return false
  }

  function toFinishReason(): FinishReason {
    const reason = FINISH.get(finish ?? '') ?? 'other'
    return reason === 'stop' && toolCalls.length > 0 ? 'tool_calls' : reason
  }

  return {
    addPiece,
    isFinished: () => finish !== undefined,
    known: () => (begun ? { usage: usage.total(), model, generated: true } : { generated: false }),
    addWhole(parsed: unknown, state: () => AttemptState) {
      // Without `alt=sse` a stream is one JSON array of its pieces.
      const pieces = Array.isArray(parsed) ? parsed.map(recordOf) : [recordOf(parsed)]
      for (const piece of pieces) addPiece(piece, state)
      if (!finish && text === '' && toolCalls.length === 0) throw toBadReply('JSON without a candidate', state())
    },
    response(): ModelResponse {
      return {
        text,
        ...(reasoning && { reasoningText: reasoning }),
        ...(toolCalls.length > 0 && { toolCalls }),
        finishReason: toFinishReason(),
        model: model ?? requestedModel,
        usage: usage.total(),
        notes: [
          ...requestNotes,
          ...[...ignored].map((kind) => `a part of the answer was left out: ${kind}`),
          ...(FINISH.get(finish ?? '') ? [] : [`Gemini finished with ${finish ?? 'no reason'}`]),
        ],
      }
    },
  }
}
