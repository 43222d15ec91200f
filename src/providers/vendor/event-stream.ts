import { StringDecoder } from 'node:string_decoder'
import { createParser, type EventSourceMessage, type ParseError } from 'eventsource-parser'
import { readBody } from '../transport/transport-response.ts'
import { isRecord } from './foreign-json.ts'
import { saysFailure } from './vendor-words.ts'

const DONE = '[DONE]'
/** Maximum number of characters. One event may repeat the whole answer (`response.completed`). */
const MAX_EVENT_LENGTH = 64_000_000
const BYTE_ORDER_MARK = '\uFEFF'

export interface StreamEnd {
  /** Whether `onEvent` returned true or `[DONE]` arrived. Otherwise the stream ended early. */
  readonly isMarked: boolean
  readonly hasEvents: boolean
  /** Lines outside the event stream format: a bare JSON answer, a page of a proxy. */
  readonly otherText: string
}

/**
 * Reads Server-Sent Events whose data is JSON. Calls `onEvent` synchronously with each parsed event, and `onActivity`
 * with every chunk of the body, including comments and events without data. Errors are passed to `onEvent` as events
 * with `error`, in whichever form they were sent: in a line `error: …`, as an event named `error`, as
 * `{"object":"error"}`. Rejects with a SyntaxError for data that is not JSON, and with the errors of `onEvent` and of
 * the body. The SDKs' streams are not used: they hide `[DONE]` and comments, and log data that they cannot parse.
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

/** Whether a text has the format of an event stream. */
export const isEventStreamText = (text: string): boolean => /^\uFEFF?\s*(data|event|id|retry|error)?:/.test(text)

/** Like `readEventStream`, for a text that has arrived completely. */
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
    // A body without a final empty line may end within an event. Invalid JSON is then a truncation, not a bad event.
    else if (!isEnding && data.trim() !== '') throw new SyntaxError('data that is not JSON')
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
    /** Parses a chunk of text. Returns true once the end mark has arrived. */
    feed(text: string): boolean {
      parser.feed(text)
      return isMarked
    },
    /** Some servers omit the empty line after the last event, and some end with a bare JSON error. */
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

/** Google sends an error as a list with one item. */
const firstOf = (value: unknown): unknown => (Array.isArray(value) ? value[0] : value)

/** Converts every form of error to `{ type: 'error', error }`. Returns other events unchanged. */
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
