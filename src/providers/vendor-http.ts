import { withCallFacts } from '../domain/call-facts.ts'
import type { ModelRequest } from '../domain/model-call.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { readEventStream } from './event-stream.ts'
import { recordOf } from './foreign-json.ts'
import { type AttemptState, networkCodeOf, toBadReply, toConnectionError, toStreamCut } from './vendor-error.ts'

/** The longest timer there is: the layers around a call watch the time, an SDK must not. */
export const NO_TIMEOUT_MS = 2_147_483_647

const MAX_ERROR_BYTES = 64 * 1024
const MAX_ANSWER_BYTES = 64 * 1024 * 1024

/**
 * `fetch` for requests that carry a key. Redirects are answers, not followed: fetch strips `Authorization` on another origin, but not
 * `x-api-key` or `x-goog-api-key`, and would send the prompt along. Bodies of errors are cut to 64 kB, so that no vendor can fill the memory.
 */
export const vendorFetch = (input: string | URL | Request, init?: RequestInit): Promise<Response> =>
  fetch(input, { ...init, redirect: 'manual' }).then((response) => (response.ok ? response : withBoundedBody(response)))

async function withBoundedBody(response: Response): Promise<Response> {
  // An error whose body breaks off is still that error: a 401 must not turn into a connection failure, which is retried.
  const body = await readBytes(response, MAX_ERROR_BYTES).catch(() => ({ text: '' }))
  const { statusText, headers } = response
  // Some servers make up statuses that no Response can be built with.
  const status = Math.min(response.status, 599)
  return new Response(status === 304 ? null : body.text, { status, statusText, headers })
}

/** Whether the name of a model would lead up the path of an address that it is a part of: who chooses a model chooses no other address of the vendor. */
export const leadsElsewhere = (model: string): boolean => model.split('/').some((part) => part === '.' || part === '..')

export const toNoSuchModel = (provider: string): OrchestratorError =>
  new OrchestratorError('PROVIDER_REJECTED', `Provider "${provider}" has no model of this name`, { details: { provider } })

/** A signal for a vendor's SDK, which hangs its listener on it and never takes it back. */
export interface SdkSignal {
  readonly signal: AbortSignal
  /** Ends the request, without touching the signal it stands for. */
  abort(): void
  /** Takes the listener off. */
  release(): void
}

/**
 * Stands for `signal` towards an SDK that only asks whether it is aborted and adds one listener. Thousands of requests wait at once, and a
 * controller for each would weigh more than all else that is kept for them.
 */
export function createSdkSignal(signal: AbortSignal): SdkSignal {
  let listener: (() => void) | undefined
  const relay: Pick<AbortSignal, 'aborted' | 'addEventListener'> = {
    aborted: signal.aborted,
    addEventListener: (_type: string, given: unknown) => {
      listener = given as () => void
      signal.addEventListener('abort', listener, { once: true })
    },
  }
  return {
    // The seam to the SDK's types: it uses no more of a signal than this.
    signal: relay as AbortSignal,
    abort: () => listener?.(),
    release: () => {
      if (listener) signal.removeEventListener('abort', listener)
    },
  }
}

/** What is known of an aborted request goes with its signal: the reason may be shared by many. */
export function keepAbortFacts(signal: AbortSignal, { usage, model, generated = false }: AttemptState): void {
  for (const place of [signal, signal.reason]) if (isObject(place)) withCallFacts(place, { usage, model, generated })
}

/**
 * Runs one request under a signal of its own that follows `signal`, so that a long-lived signal keeps nothing of it. A failure closes the
 * socket; after an abort the promise rejects with `signal.reason`. `state` is what is known of the attempt by then.
 */
export async function withLinkedSignal<T>(
  signal: AbortSignal,
  state: () => AttemptState,
  run: (linked: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted()
  const controller = new AbortController()
  const abort = () => controller.abort(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await run(controller.signal)
  } catch (error) {
    controller.abort()
    if (!signal.aborted) throw error
    keepAbortFacts(signal, state())
    throw signal.reason
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

/** Proxies answer a streamed request with a whole answer or an error as JSON. */
export const isJsonAnswer = (response: Response) => /\bjson\b/.test(response.headers.get('content-type') ?? '')

/** What a vendor's message must not repeat into our errors. */
export const privateTextsOf = ({ system = '', messages }: ModelRequest): readonly string[] => [
  system,
  ...messages.map(({ content }) => content),
]

/** Text of an answer that is not streamed. */
export async function readAnswerText(response: Response, state: () => AttemptState): Promise<string> {
  try {
    const { text, cut } = await readBytes(response, MAX_ANSWER_BYTES)
    if (!cut) return text
  } catch (error) {
    throw toConnectionError(error, state())
  }
  throw toBadReply(`more than ${MAX_ANSWER_BYTES} bytes`, state())
}

export interface StreamReading {
  /** Takes one parsed event; true ends the reading. */
  readonly onEvent: (event: unknown) => boolean
  readonly onActivity?: () => void
  /** The mark that closes an answer, for people. */
  readonly endMark: string
  /** Whether the mark has arrived. */
  readonly isWhole: () => boolean
  readonly state: () => AttemptState
}

/** Reads a stream of events. Rejects with PROVIDER_STREAM_CUT when it ends or breaks before its mark, PROVIDER_BAD_REPLY for what is no event. */
export async function readEvents(response: Response, reading: StreamReading): Promise<void> {
  const { onEvent, onActivity, endMark, isWhole, state } = reading
  let hasEvents = false
  const onAnyEvent = (event: unknown) => {
    hasEvents = true
    return onEvent(event)
  }
  try {
    if (response.body) await readEventStream(response.body, onAnyEvent, onActivity)
  } catch (error) {
    if (error instanceof SyntaxError) throw toBadReply('an event that is no JSON', state())
    // Not of the network: an error inside the stream, or what the caller threw at a piece of text.
    if (OrchestratorError.is(error) || networkCodeOf(error) === undefined) throw error
    // Also after a mark that is not the last word (Gemini repeats its own): a broken connection may hide more text.
    throw toStreamCut(endMark, state(), error)
  }
  const isEventStream = /event-stream/.test(response.headers.get('content-type') ?? '')
  if (!hasEvents && !isEventStream) throw toBadReply('a body without events', state())
  if (!isWhole()) throw toStreamCut(endMark, state())
}

/** Parsed JSON of an answer that is not streamed. Rejects with PROVIDER_BAD_REPLY for what is none. */
export async function readJsonAnswer(response: Response, state: () => AttemptState): Promise<unknown> {
  const text = await readAnswerText(response, state)
  try {
    return JSON.parse(text)
  } catch {
    throw toBadReply('text that is no JSON', state())
  }
}

/** For `ping`: the answer to a question for models, whichever they are. Rejects with PROVIDER_BAD_REPLY for anything else. */
export async function readModelList(response: Response, field: 'data' | 'models', state: () => AttemptState): Promise<void> {
  if (!Array.isArray(recordOf(await readJsonAnswer(response, state))[field])) throw toBadReply('no list of models', state())
}

async function readBytes(response: Response, limit: number): Promise<{ readonly text: string; readonly cut: boolean }> {
  const reader = response.body?.getReader()
  if (!reader) return { text: '', cut: false }
  const decoder = new TextDecoder()
  const parts: string[] = []
  let bytes = 0
  for (;;) {
    const { value } = await reader.read()
    if (!value) return { text: parts.join('') + decoder.decode(), cut: false }
    bytes += value.length
    parts.push(decoder.decode(value, { stream: true }))
    if (bytes <= limit) continue
    await reader.cancel()
    return { text: parts.join(''), cut: true }
  }
}
