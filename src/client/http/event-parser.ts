import { createParser } from 'eventsource-parser'

export interface ServerSentEvent {
  /** `message` if the server gives no type; `COMMENT` for a comment, which servers send as a heartbeat. */
  readonly type: string
  readonly data: string
}

/** Type of an event that stands for a comment. */
export const COMMENT = ':'
/** Maximum characters of one event; no update of a flow is larger. */
const LONGEST_EVENT = 64_000_000

/**
 * Parses server-sent events from chunks of text that may be split anywhere, with any line ending. An event without its
 * empty line is incomplete and dropped. Ids are ignored, because updates contain their sequence number. The parser
 * throws a RangeError for an event that never ends.
 */
export function createEventParser(): (chunk: string) => readonly ServerSentEvent[] {
  let events: ServerSentEvent[] = []
  const parser = createParser({
    maxBufferSize: LONGEST_EVENT,
    onEvent: ({ event = 'message', data }) => events.push({ type: event, data }),
    onComment: () => events.push({ type: COMMENT, data: '' }),
    onError: ({ type, message }) => {
      if (type === 'max-buffer-size-exceeded') throw new RangeError(message)
    },
  })
  let lineFeedBelongsToLast = false
  return (chunk) => {
    events = []
    // The parser holds back a CR at the end of a chunk in case an LF comes next, which would delay the last event for
    // ever.
    const text = lineFeedBelongsToLast && chunk.startsWith('\n') ? chunk.slice(1) : chunk
    if (chunk !== '') lineFeedBelongsToLast = chunk.endsWith('\r')
    parser.feed(chunk.endsWith('\r') ? `${text}\n` : text)
    return events
  }
}
