import { type AdapterSettings, fixedHeadersOf } from '../adapter-settings.ts'
import type { Provider } from '../provider.ts'
import { createVendorTransport } from '../transport/transport.ts'
import { toApiRoot } from '../vendor/api-root.ts'
import { createHttpProvider } from '../vendor/http-provider.ts'
import { toConnectionError, toVendorError } from '../vendor/vendor-error.ts'
import { hasDotSegment, readAnswerText, toNoSuchModel } from '../vendor/vendor-http.ts'
import { createGoogleAnswer } from './google-answer.ts'
import { filesReadByGoogle } from './google-files.ts'
import { toGoogleRequest } from './google-request.ts'

const KIND = 'google'
const OWN_BASE_URL = 'https://generativelanguage.googleapis.com'

/**
 * A provider for the Gemini API. Only types of `@google/generative-ai` are used. Its transport repeats the key and
 * the prompt on redirects, drops the headers of errors (`retry-after`), never removes its listener from the caller's
 * signal, and buffers streams twice.
 */
export async function createGoogleProvider(settings: AdapterSettings): Promise<Provider> {
  const { id } = settings
  const { fetch, secrets } = createVendorTransport(settings)
  const root = toApiRoot(settings.baseUrl ?? OWN_BASE_URL, 'google')
  const headers = {
    ...fixedHeadersOf(settings),
    'content-type': 'application/json',
    ...(settings.apiKey && { 'x-goog-api-key': settings.apiKey }),
  }

  return createHttpProvider(settings, {
    kind: KIND,
    secrets,
    endMark: 'a finishReason',
    models: { path: 'models?pageSize=1', field: 'models' },
    filesToRead: (request) => filesReadByGoogle(request, id),
    startAttempt(request, options, files) {
      if (hasDotSegment(request.model)) throw toNoSuchModel(id)
      const { body, notes } = toGoogleRequest(request, { id, kind: KIND, options: settings.options, files })
      const method = options.onDelta ? 'streamGenerateContent?alt=sse' : 'generateContent'
      return {
        outgoing: { path: `${toModelPath(request.model)}:${method}`, body },
        answer: createGoogleAnswer(request, id, notes, options),
      }
    },
    async send({ path, body }, signal, state) {
      const init = body ? { method: 'POST', body: JSON.stringify(body) } : {}
      const response = await fetch(`${root}/${path}`, { ...init, headers, signal }).catch((error: unknown) => {
        throw toConnectionError(error, state())
      })
      if (response.ok) return response
      const text = await readAnswerText(response, state)
      throw toVendorError({ ...state(), status: response.status, headers: response.headers, body: parseErrorBody(text) })
    },
  })
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
