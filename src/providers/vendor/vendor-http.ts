import { withCallFacts } from '../../domain/execution/call-facts.ts'
import type { ModelRequest } from '../../domain/execution/model-call.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { createRelaySignal } from '../transport/relay-signal.ts'
import { AnswerTooLong, readText } from '../transport/transport-response.ts'
import { looksLikeEvents, readEventStream, readEventText, type StreamEnd } from './event-stream.ts'
import { recordOf } from './foreign-json.ts'
import { type AttemptState, networkCodeOf, toBadReply, toConnectionError, toStreamCut } from './vendor-error.ts'

/** The longest timer there is: the layers around a call watch the time, an SDK must not. */
export const NO_TIMEOUT_MS = 2_147_483_647

/** Whether the name of a model would lead up the path of an address that it is a part of: who chooses a model chooses no other address of the vendor. */
export const leadsElsewhere = (model: string): boolean => model.split('/').some((part) => part === '.' || part === '..')

export const toNoSuchModel = (provider: string): OrchestratorError =>
  new OrchestratorError('PROVIDER_REJECTED', `Provider "${provider}" has no model of this name`, { details: { provider } })

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

/** What a vendor's message must not repeat into our errors. */
export const privateTextsOf = ({ system = '', messages }: ModelRequest): readonly string[] => [
  system,
  ...messages.map(({ content }) => content),
]

/** Text of an answer that is not streamed. */
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
  /** Takes one parsed event; true ends the reading. */
  readonly onEvent: (event: unknown) => boolean
  /** Takes the parsed JSON of a whole answer. */
  readonly onWhole: (reply: unknown) => void
  readonly onActivity?: () => void
  /** The mark that closes an answer, for people. */
  readonly endMark: string
  /** Whether the answer is complete; `isMarked`: `[DONE]` arrived, or `onEvent` returned true. */
  readonly isWhole: (isMarked: boolean) => boolean
  readonly state: () => AttemptState
}

/**
 * Reads an answer with a status of success as what it is, whatever was asked for: servers ignore `stream`, gateways stream what was asked for whole,
 * and media types lie. Rejects with PROVIDER_STREAM_CUT where a stream ends or breaks before its mark, PROVIDER_UNAVAILABLE where a whole answer
 * breaks off, PROVIDER_BAD_REPLY for what is no answer, and with what `onEvent` and `onWhole` throw.
 */
export async function readAnswer(response: Response, reading: AnswerReading): Promise<void> {
  const { streams, onEvent, onWhole, state } = reading
  const mediaType = response.headers.get('content-type') ?? ''
  const isEventStream = /event-stream/i.test(mediaType)
  if (!isEventStream && (!streams || /\bjson\b/i.test(mediaType))) {
    const text = await readAnswerText(response, state)
    const reply = parseOrUndefined(text)
    if (reply !== undefined) onWhole(withoutErrorList(reply))
    else if (looksLikeEvents(text)) checkEnd(readTextAsEvents(text, onEvent, state), reading, true)
    else throw toBadReply(shapeOf(text), state())
    return
  }
  const end = await readStreamed(response, reading)
  const reply = end.hasEvents || end.otherText === '' ? undefined : parseOrUndefined(end.otherText)
  if (reply === undefined) checkEnd(end, reading, isEventStream)
  else onWhole(withoutErrorList(reply))
}

/** Google's servers send an error as a list of one, those for OpenAI clients too. */
function withoutErrorList(reply: unknown): unknown {
  const [first]: readonly unknown[] = Array.isArray(reply) ? reply : []
  return recordOf(first).error ? first : reply
}

async function readStreamed(response: Response, { onEvent, onActivity, endMark, state }: AnswerReading): Promise<StreamEnd> {
  try {
    return await readEventStream(response, onEvent, onActivity)
  } catch (error) {
    if (error instanceof SyntaxError) throw toBadReply('an event that is no JSON', state())
    // Not of the network: an error inside the stream, or what the caller threw at a chunk of text.
    if (OrchestratorError.is(error) || networkCodeOf(error) === undefined) throw error
    // Also after a mark that is not the last word (Gemini repeats its own): a broken connection may hide more text.
    throw toStreamCut(endMark, state(), error)
  }
}

function readTextAsEvents(text: string, onEvent: AnswerReading['onEvent'], state: () => AttemptState): StreamEnd {
  try {
    return readEventText(text, onEvent)
  } catch (error) {
    throw error instanceof SyntaxError ? toBadReply('an event that is no JSON', state()) : error
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

/** What a body is, without its content. */
function shapeOf(text: string): string {
  if (text.trim() === '') return 'an empty body'
  return /^\uFEFF?\s*<(!doctype|html|head|body|\?xml)/i.test(text) ? 'a page of HTML' : 'text that is no JSON'
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Parsed JSON of an answer that is not streamed. Rejects with PROVIDER_BAD_REPLY for what is none. */
async function readJsonAnswer(response: Response, state: () => AttemptState): Promise<unknown> {
  const text = await readAnswerText(response, state)
  const reply = parseOrUndefined(text)
  if (reply === undefined) throw toBadReply(shapeOf(text), state())
  return reply
}

/** For `ping`: the answer to a question for models, whichever they are. Rejects with PROVIDER_BAD_REPLY for anything else. */
export async function readModelList(response: Response, field: 'data' | 'models', state: () => AttemptState): Promise<void> {
  if (!Array.isArray(recordOf(await readJsonAnswer(response, state))[field])) throw toBadReply('no list of models', state())
}
