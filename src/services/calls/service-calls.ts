import { untilAborted } from '../../async/until-aborted.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { toHandlerMessage } from '../drivers/in-process.ts'
import type { PinnedAnswer, PinnedRequest } from '../network/pinned-request.ts'
import type { InProcessService, ServiceAnswer, ServiceRequest } from '../service.ts'

/** A service that is called. */
export interface Callee {
  readonly id: string
  readonly config: Readonly<Record<string, unknown>>
  readonly handlers?: InProcessService
  readonly endpoint?: string
}

export type CallService = (callee: Callee, request: ServiceRequest, signal: AbortSignal) => Promise<ServiceAnswer>

const MAX_ANSWER_BYTES = 10_000_000

/**
 * Sends requests to services: to the `onMessage` handler of one of this process, or over HTTP to its endpoint; prompts
 * and messages as Chat Completions. Rejects with PROVIDER_NOT_CONFIGURED for a service that has neither, with
 * PROVIDER_UNAVAILABLE where the service cannot be reached or its code failed.
 */
export function createServiceCalls(request: PinnedRequest): CallService {
  async function callHandler({ id, handlers }: Callee, message: ServiceRequest, signal: AbortSignal): Promise<ServiceAnswer> {
    try {
      // A handler that ignores its signal must not keep its caller and the stop of its service.
      const answering = Promise.resolve().then(() => handlers?.onMessage?.(message, { signal }))
      return toAnswer(await untilAborted(answering, signal))
    } catch (error) {
      if (signal.aborted) throw signal.reason
      const text = `the service "${id}" failed: ${toHandlerMessage(error)}`
      throw new OrchestratorError('PROVIDER_UNAVAILABLE', text, { details: { service: id }, cause: error })
    }
  }

  async function callEndpoint(callee: Callee, endpoint: string, message: ServiceRequest, signal: AbortSignal) {
    const sent = toHttp(callee, endpoint, message)
    const answer = await request(sent.url, { ...sent, signal, maxBytes: MAX_ANSWER_BYTES }).catch((error: unknown) => {
      if (signal.aborted || OrchestratorError.is(error)) throw error
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'no connection'
      throw new OrchestratorError('PROVIDER_UNAVAILABLE', `the service "${callee.id}" could not be reached (${code})`, {
        details: { service: callee.id },
        cause: error,
      })
    })
    return fromHttp(answer, sent.isChat)
  }

  return async (callee, message, signal) => {
    signal.throwIfAborted()
    if (callee.handlers?.onMessage) return callHandler(callee, message, signal)
    if (callee.endpoint !== undefined) return callEndpoint(callee, callee.endpoint, message, signal)
    const text = `expected the service "${callee.id}" to have an endpoint or an onMessage handler`
    throw new OrchestratorError('PROVIDER_NOT_CONFIGURED', text, { details: { service: callee.id } })
  }
}

/** What a handler answers: text, an answer in its form, or any other value as body. */
function toAnswer(answer: unknown): ServiceAnswer {
  if (typeof answer === 'string') return { text: answer }
  if (typeof answer !== 'object' || answer === null) return answer === undefined ? {} : { body: answer }
  const { text, status, body, ...rest } = { text: undefined, status: undefined, body: undefined, ...answer }
  if (Object.keys(rest).length > 0) return { body: answer }
  return {
    ...(typeof text === 'string' && { text }),
    ...(typeof status === 'number' && { status }),
    ...(body !== undefined && { body }),
  }
}

interface HttpCall {
  readonly url: string
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  readonly isChat: boolean
}

function toHttp({ id, config }: Callee, endpoint: string, message: ServiceRequest): HttpCall {
  const json = { 'content-type': 'application/json', accept: 'application/json' }
  if ('prompt' in message || 'messages' in message) {
    const messages = 'messages' in message ? message.messages : [{ role: 'user', content: message.prompt }]
    const { model = 'default', maxTokens, temperature } = config
    const body = { model, messages, ...(maxTokens !== undefined && { max_tokens: maxTokens }), temperature }
    const base = endpoint.replace(/\/+$/, '')
    const url = `${base}${base.endsWith('/v1') ? '' : '/v1'}/chat/completions`
    return { url, method: 'POST', headers: json, body: JSON.stringify(body), isChat: true }
  }
  const { path = '', method = message.body === undefined ? 'GET' : 'POST', headers = {}, body } = message
  return {
    url: below(id, endpoint, path),
    method,
    headers: { ...(body !== undefined && json), ...headers },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    isChat: false,
  }
}

/** The address of a path below the endpoint. A path that leads elsewhere is refused. */
function below(id: string, endpoint: string, path: string): string {
  const base = new URL(endpoint.endsWith('/') ? endpoint : `${endpoint}/`)
  const url = new URL(`./${path.replace(/^\/+/, '')}`, base)
  // Compared with its last slash, because `/v10` is not below `/v1`.
  if (url.origin === base.origin && `${url.pathname}/`.startsWith(base.pathname)) return url.href
  throw new OrchestratorError('SERVICE_ADDRESS_REFUSED', `expected a path below the endpoint of "${id}"`, {
    details: { service: id },
  })
}

function fromHttp({ status, text, contentType, cut }: PinnedAnswer, isChat: boolean): ServiceAnswer {
  if (cut) {
    throw new OrchestratorError('PROVIDER_UNAVAILABLE', `expected an answer of at most ${MAX_ANSWER_BYTES} bytes`)
  }
  const body = contentType.includes('json') ? parseJson(text) : text
  const answer = isChat ? chatText(body) : typeof body === 'string' ? body : undefined
  return { status, body, ...(answer !== undefined && { text: answer }) }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** `choices[0].message.content` of a Chat Completions answer. */
function chatText(body: unknown): string | undefined {
  const member = (value: unknown, key: string): unknown =>
    typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined
  const content = member(member(member(member(body, 'choices'), '0'), 'message'), 'content')
  return typeof content === 'string' ? content : undefined
}
