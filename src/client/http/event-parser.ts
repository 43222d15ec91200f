import { createParser } from 'eventsource-parser'

export interface ServerSentEvent {
  /** `message` where the server names none; `COMMENT` for a comment, which is how servers show that they are there. */
  readonly type: string
  readonly data: string
}

export const COMMENT = ':'
/** Characters of one event; more is no update of a flow. */
const LONGEST_EVENT = 64_000_000

/**
 * Reads server-sent events out of pieces of text that are cut anywhere, with every line end. What is not closed by an empty line is no event: it was
 * cut. Ids are not read: updates carry their number. Throws a RangeError for an event without an end.
 */
export function createEventParser(): (piece: string) => readonly ServerSentEvent[] {
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
  return (piece) => {
    events = []
    // The parser keeps a CR at the end of a piece back, because an LF may follow: the last event would wait for a piece that never comes.
    const text = lineFeedBelongsToLast && piece.startsWith('\n') ? piece.slice(1) : piece
    if (piece !== '') lineFeedBelongsToLast = piece.endsWith('\r')
    parser.feed(piece.endsWith('\r') ? `${text}\n` : text)
    return events
  }
}
