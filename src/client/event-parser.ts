export interface ServerSentEvent {
  /** `message` where the server names none; `COMMENT` for a comment, which is how servers show that they are there. */
  readonly type: string
  readonly data: string
}

export const COMMENT = ':'
/** Characters of one event; more is no update of a flow. */
const LONGEST_EVENT = 64_000_000

/**
 * Reads server-sent events (WHATWG HTML, 9.2.6) out of pieces of text that are cut anywhere, with every line end. What is not closed by an empty line
 * is no event: it was cut. Ids are not read: updates carry their number. Throws a RangeError for an event without an end.
 */
export function createEventParser(): (piece: string) => readonly ServerSentEvent[] {
  let partialLine = ''
  let lineFeedBelongsToLast = false
  let type = ''
  let data: string | undefined

  function closeLine(line: string, events: ServerSentEvent[]): void {
    if (line === '') {
      if (data !== undefined) events.push({ type: type || 'message', data })
      type = ''
      data = undefined
    } else if (line.startsWith(':')) {
      events.push({ type: COMMENT, data: '' })
    } else {
      const colon = line.indexOf(':')
      const name = colon === -1 ? line : line.slice(0, colon)
      const value = colon === -1 ? '' : line.slice(line.charCodeAt(colon + 1) === 32 ? colon + 2 : colon + 1)
      if (name === 'event') type = value
      if (name === 'data') data = data === undefined ? value : `${data}\n${value}`
    }
  }

  return (piece) => {
    const events: ServerSentEvent[] = []
    let start = lineFeedBelongsToLast && piece.startsWith('\n') ? 1 : 0
    if (piece !== '') lineFeedBelongsToLast = false
    // Only the new piece is searched: searching the joined text would make one long event quadratic.
    for (let end = nextLineEnd(piece, start); end !== undefined; end = nextLineEnd(piece, start)) {
      const line = partialLine + piece.slice(start, end)
      partialLine = ''
      start = end + 1
      if (piece[end] === '\r') {
        if (start === piece.length) lineFeedBelongsToLast = true
        else if (piece[start] === '\n') start++
      }
      closeLine(line, events)
    }
    partialLine += piece.slice(start)
    if (partialLine.length + (data?.length ?? 0) > LONGEST_EVENT) throw new RangeError('event without an end')
    return events
  }
}

function nextLineEnd(text: string, from: number): number | undefined {
  const lineEnd = /[\r\n]/g
  lineEnd.lastIndex = from
  return lineEnd.exec(text)?.index
}
