import { withCallFacts } from '../../domain/execution/call-facts.ts'
import type { ModelRequest } from '../../domain/execution/model-call.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { createRelaySignal } from '../transport/relay-signal.ts'
import { AnswerTooLong, readText } from '../transport/transport-response.ts'
import { isEventStreamText, readEventStream, readEventText, type StreamEnd } from './event-stream.ts'
import { recordOf } from './foreign-json.ts'
import type { LoadedFiles } from './loaded-files.ts'
import { type AttemptState, networkCodeOf, toBadReply, toConnectionError, toStreamCut } from './vendor-error.ts'

/** The longest delay of a timer. SDKs must not end requests, because the call layers bound the time. */
export const NO_TIMEOUT_MS = 2_147_483_647

/**
 * Whether a model name that becomes part of a path contains `.` or `..` segments, which would address another operation
 * of the vendor.
 */
export const hasDotSegment = (model: string): boolean => model.split('/').some((part) => part === '.' || part === '..')

export const toNoSuchModel = (provider: string): OrchestratorError =>
  new OrchestratorError('PROVIDER_REJECTED', `Provider "${provider}" has no model of this name`, { details: { provider } })

/**
 * Attaches the facts of an aborted request to its signal and to the reason. Requests may share a reason, so the
 * signal's facts count.
 */
export function keepAbortFacts(signal: AbortSignal, { usage, model, generated = false }: AttemptState): void {
  for (const holder of [signal, signal.reason]) if (isObject(holder)) withCallFacts(holder, { usage, model, generated })
}

/**
 * Runs one request with a relay of `signal`, so that a long-lived signal keeps no reference to the request. A failure
 * closes the socket. After an abort it rejects with `signal.reason`. `state` returns the facts of the attempt so far.
 */
export async function withLinkedSignal<T>(
  signal: AbortSignal,
  state: () => AttemptState,
  run: (linked: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted()
  const linked = createRelaySignal(signal)
  try {
    return await run(linked)
  } catch (error) {
    linked.abort()
    if (!signal.aborted) throw error
    keepAbortFacts(signal, state())
    throw signal.reason
  } finally {
    linked.release()
  }
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

/** Texts of a request that must not appear in error messages. */
export const privateTextsOf = ({ system = '', messages }: ModelRequest, files?: LoadedFiles): readonly string[] => [
  system,
  ...messages.map(({ content }) => content),
  ...messages.flatMap((message) => (message.role === 'assistant' ? (message.toolCalls ?? []) : [])).map((call) => call.arguments),
  ...(files?.texts() ?? []),
]

/**
 * Text of a response that is not streamed. Rejects with PROVIDER_BAD_REPLY if it is too long, PROVIDER_UNAVAILABLE if
 * it breaks off.
 */
export async function readAnswerText(response: Response, state: () => AttemptState): Promise<string> {
  try {
    return await readText(response)
  } catch (error) {
    throw error instanceof AnswerTooLong ? toBadReply(error.message, state()) : toConnectionError(error, state())
  }
}

export interface AnswerReading {
  /** Whether the request asked for a stream. */
  readonly streams: boolean
  /** Receives one parsed event of a stream. Returns true to end the reading. */
  readonly onEvent: (event: unknown) => boolean
  /** Receives the parsed JSON of an answer that is not streamed. */
  readonly onWhole: (reply: unknown) => void
  readonly onActivity?: () => void
  /** The end mark of an answer, in words for error messages. */
  readonly endMark: string
  /** Whether the answer is complete. `isMarked`: whether `[DONE]` arrived, or `onEvent` returned true. */
  readonly isWhole: (isMarked: boolean) => boolean
  readonly state: () => AttemptState
}

/**
 * Reads the body of a successful response by its actual format, because servers ignore `stream`, gateways stream plain
 * requests and media types are wrong. Rejects with PROVIDER_STREAM_CUT if a stream ends or breaks before its end mark,
 * PROVIDER_UNAVAILABLE if a plain answer breaks off, PROVIDER_BAD_REPLY if the body is not an answer, and with the
 * errors of `onEvent` and `onWhole`.
 */
export async function readAnswer(response: Response, reading: AnswerReading): Promise<void> {
  const { streams, onEvent, onWhole, state } = reading
  const mediaType = response.headers.get('content-type') ?? ''
  const isEventStream = /event-stream/i.test(mediaType)
  if (!isEventStream && (!streams || /\bjson\b/i.test(mediaType))) {
    const text = await readAnswerText(response, state)
    const reply = parseOrUndefined(text)
    if (reply !== undefined) onWhole(withoutErrorList(reply))
    else if (isEventStreamText(text)) checkEnd(readTextAsEvents(text, onEvent, state), reading, true)
    else throw toBadReply(shapeOf(text), state())
    return
  }
  const end = await readStreamed(response, reading)
  const reply = end.hasEvents || end.otherText === '' ? undefined : parseOrUndefined(end.otherText)
  if (reply === undefined) checkEnd(end, reading, isEventStream)
  else onWhole(withoutErrorList(reply))
}

/** Google sends an error as a list with one item, even from its endpoint for OpenAI clients. */
function withoutErrorList(reply: unknown): unknown {
  const [first]: readonly unknown[] = Array.isArray(reply) ? reply : []
  return recordOf(first).error ? first : reply
}

async function readStreamed(response: Response, { onEvent, onActivity, endMark, state }: AnswerReading): Promise<StreamEnd> {
  try {
    return await readEventStream(response, onEvent, onActivity)
  } catch (error) {
    if (error instanceof SyntaxError) throw toBadReply('an event that is not JSON', state())
    // Not a network error: the stream reported an error, or a callback threw.
    if (OrchestratorError.is(error) || networkCodeOf(error) === undefined) throw error
    // An end mark that may be repeated (Gemini) does not prove completeness: text may be missing after a broken
    // connection.
    throw toStreamCut(endMark, state(), error)
  }
}

function readTextAsEvents(text: string, onEvent: AnswerReading['onEvent'], state: () => AttemptState): StreamEnd {
  try {
    return readEventText(text, onEvent)
  } catch (error) {
    throw error instanceof SyntaxError ? toBadReply('an event that is not JSON', state()) : error
  }
}

function checkEnd(
  { hasEvents, isMarked, otherText }: StreamEnd,
  { endMark, isWhole, state }: AnswerReading,
  isEventStream: boolean,
): void {
  if (!hasEvents && (!isEventStream || otherText !== '')) {
    throw toBadReply(otherText === '' ? 'a body without events' : shapeOf(otherText), state())
  }
  if (!isWhole(isMarked)) throw toStreamCut(endMark, state())
}

/** The kind of a body, without its content. */
function shapeOf(text: string): string {
  if (text.trim() === '') return 'an empty body'
  return /^\uFEFF?\s*<(!doctype|html|head|body|\?xml)/i.test(text) ? 'a page of HTML' : 'text that is not JSON'
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Parsed JSON of a response. Rejects with PROVIDER_BAD_REPLY if it is not JSON. */
async function readJsonAnswer(response: Response, state: () => AttemptState): Promise<unknown> {
  const text = await readAnswerText(response, state)
  const reply = parseOrUndefined(text)
  if (reply === undefined) throw toBadReply(shapeOf(text), state())
  return reply
}

/** Checks that a response is a list of models. Used by `ping`. Rejects with PROVIDER_BAD_REPLY for anything else. */
export async function readModelList(response: Response, field: 'data' | 'models', state: () => AttemptState): Promise<void> {
  if (!Array.isArray(recordOf(await readJsonAnswer(response, state))[field])) throw toBadReply('no list of models', state())
}
