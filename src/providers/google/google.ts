import type { ModelRequest, ModelResponse } from '../../domain/execution/model-call.ts'
import { type AdapterSettings, fixedHeadersOf } from '../adapter-settings.ts'
import type { GenerateOptions, Provider } from '../provider.ts'
import { createVendorTransport } from '../transport/transport.ts'
import { toApiRoot } from '../vendor/api-root.ts'
import { recordOf } from '../vendor/foreign-json.ts'
import { type AttemptState, toConnectionError, toVendorError } from '../vendor/vendor-error.ts'
import {
  leadsElsewhere,
  privateTextsOf,
  readAnswer,
  readAnswerText,
  readModelList,
  toNoSuchModel,
  withLinkedSignal,
} from '../vendor/vendor-http.ts'
import { createGoogleAnswer } from './google-answer.ts'
import { toGoogleRequest } from './google-request.ts'

const OWN_BASE_URL = 'https://generativelanguage.googleapis.com'
const END_MARK = 'a finishReason'

/**
 * Speaks the Gemini API in the types of `@google/generative-ai`. The SDK's own transport is not used: it follows redirects and takes the key and
 * the prompt along, drops the headers of errors (`retry-after`), hangs its listener on the caller's signal for good, and buffers streams twice.
 */
export async function createGoogleProvider(settings: AdapterSettings): Promise<Provider> {
  const { id } = settings
  const { fetch, secrets } = createVendorTransport(settings)
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

  async function generate(request: ModelRequest, options: GenerateOptions): Promise<ModelResponse> {
    const { signal, onDelta, onActivity } = options
    if (leadsElsewhere(request.model)) throw toNoSuchModel(id)
    const { body, notes } = toGoogleRequest(request)
    const answer = createGoogleAnswer(request.model, notes, options)
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
        onEvent: (event) => answer.addChunk(recordOf(event), state),
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
