import { StringDecoder } from 'node:string_decoder'
import { createParser, type EventSourceMessage, type ParseError } from 'eventsource-parser'
import { readBody } from '../transport/transport-response.ts'
import { isRecord } from './foreign-json.ts'
import { saysFailure } from './vendor-words.ts'

const DONE = '[DONE]'
/** One event may be a whole answer again (`response.completed`); more than this is no answer. */
const MAX_EVENT_LENGTH = 64_000_000
const BYTE_ORDER_MARK = '\uFEFF'

export interface StreamEnd {
  /** `onEvent` returned true, or `[DONE]` arrived; else the stream ended before. */
  readonly isMarked: boolean
  readonly hasEvents: boolean
  /** The lines that are no part of an event stream: a bare JSON answer, a page of a proxy. */
  readonly otherText: string
}

/**
 * Reads Server-Sent Events whose data is JSON. Calls `onEvent` synchronously with each parsed event, `onActivity` with every chunk of the network,
 * comments included; events without data are only activity. Errors arrive as events with `error`, in whatever form they were sent: in a line
 * `error: …`, as an event named `error`, as `{"object":"error"}`. Rejects with a SyntaxError for data that is no JSON, with what `onEvent` throws,
 * and as the body fails. The SDKs' own streams are not used: they hide `[DONE]` and comments, and write data they can not parse to the log.
 */
export async function readEventStream(
  response: Response,
  onEvent: (event: unknown) => boolean,
  onActivity?: () => void,
): Promise<StreamEnd> {
  const reading = createEventReading(onEvent)
  const decoder = new StringDecoder('utf8')
  let isFirst = true
  await readBody(response, (chunk) => {
    let text = decoder.write(chunk instanceof Buffer ? chunk : Buffer.from(chunk))
    if (isFirst && text !== '') {
      isFirst = false
      if (text.startsWith(BYTE_ORDER_MARK)) text = text.slice(1)
    }
    const isLast = reading.feed(text)
    if (!isLast) onActivity?.()
    return isLast
  })
  return reading.end()
}

/** Whether a body is an event stream, whatever its headers say. */
export const looksLikeEvents = (text: string): boolean => /^\uFEFF?\s*(data|event|id|retry|error)?:/.test(text)

/** The events of a text that has arrived as a whole; as `readEventStream`. */
export function readEventText(text: string, onEvent: (event: unknown) => boolean): StreamEnd {
  const reading = createEventReading(onEvent)
  reading.feed(text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text)
  return reading.end()
}

function createEventReading(onEvent: (event: unknown) => boolean) {
  let isMarked = false
  let hasEvents = false
  let isEnding = false
  let otherText = ''

  function take(event: unknown): void {
    hasEvents = true
    if (onEvent(event)) isMarked = true
  }

  function takeMessage({ event: name, data }: EventSourceMessage): void {
    if (isMarked || data === '') return
    const value = parseOrUndefined(data)
    if (value !== undefined) take(toErrorEvent(name, value))
    else if (data.trimStart().startsWith(DONE)) isMarked = true
    else if (name === 'error') take({ type: 'error', error: data })
    // A server that closed without the empty line may have closed within the event: a cut one is told from a whole one by its JSON.
    else if (!isEnding && data.trim() !== '') throw new SyntaxError('data that is no JSON')
  }

  function takeOther({ type, field, value = '', line = '' }: ParseError): void {
    if (isMarked || type === 'invalid-retry') return
    if (type === 'max-buffer-size-exceeded') throw new SyntaxError('event without an end')
    if (field === 'error') take(toErrorEvent('error', parseOrUndefined(value) ?? value))
    else if (hasEvents && isError(parseOrUndefined(line))) take(toErrorEvent(undefined, parseOrUndefined(line)))
    else if (otherText.length + line.length > MAX_EVENT_LENGTH) throw new SyntaxError('text without an end')
    else otherText += `${line}\n`
  }

  const parser = createParser({ onEvent: takeMessage, onError: takeOther, maxBufferSize: MAX_EVENT_LENGTH })
  return {
    /** Takes a chunk of text; returns true as soon as nothing more is wanted. */
    feed(text: string): boolean {
      parser.feed(text)
      return isMarked
    },
    /** Some servers close without the empty line after the last event, and some break off with a bare JSON error. */
    end(): StreamEnd {
      isEnding = true
      if (!isMarked) parser.feed('\n\n')
      const other = hasEvents && otherText !== '' ? parseOrUndefined(otherText) : undefined
      if (isError(other)) take(toErrorEvent(undefined, other))
      return { isMarked, hasEvents, otherText }
    },
  }
}

const isError = (value: unknown): boolean => {
  const found = firstOf(value)
  return isRecord(found) && (Boolean(found.error) || found.object === 'error' || saysFailure(found))
}

/** Google sends its errors as a list of one. */
const firstOf = (value: unknown): unknown => (Array.isArray(value) ? value[0] : value)

/** Gives every error the one form `{ type: 'error', error }`; other events are returned as they are. */
function toErrorEvent(name: string | undefined, given: unknown): unknown {
  const value = Array.isArray(given) && isError(given) ? given[0] : given
  if (!isRecord(value)) return name === 'error' ? { type: 'error', error: value } : value
  if (value.error) return typeof value.type === 'string' ? value : { ...value, type: 'error' }
  if (name !== 'error' && value.object !== 'error' && value.type !== 'error') return value
  const { type, object: _, ...error } = value
  return { type: 'error', error: type === 'error' ? error : { ...error, type } }
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
