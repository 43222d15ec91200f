const DONE = '[DONE]'
/** One event may be a whole answer again (`response.completed`); more than this is no answer. */
const MAX_LINE_LENGTH = 64_000_000
const DRAIN_MS = 1_000

/**
 * Reads Server-Sent Events whose data is JSON. Calls `onEvent` synchronously with each parsed event, `onActivity` with every piece of the network,
 * comments included. Resolves with true as soon as `onEvent` returned true or `[DONE]` arrived, with false when the stream ended before.
 * Rejects with a SyntaxError for data that is no JSON, with what `onEvent` throws, and as the stream itself fails.
 * The SDK's own stream is not used: it hides `[DONE]` and comments, and writes data it can not parse to the log.
 */
export async function readEventStream(
  body: ReadableStream<Uint8Array>,
  onEvent: (event: unknown) => boolean,
  onActivity?: () => void,
): Promise<boolean> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let partialLine = ''
  let data: string | undefined

  function isLast(line: string): boolean {
    if (line.startsWith('data:')) {
      const value = line.slice(line.charCodeAt(5) === 32 ? 6 : 5)
      data = data === undefined ? value : `${data}\n${value}`
      return false
    }
    if (line !== '' || data === undefined) return false
    const event = data
    data = undefined
    return event.startsWith(DONE) || onEvent(JSON.parse(event))
  }

  try {
    for (;;) {
      const { done, value } = await reader.read()
      const text = decoder.decode(value, { stream: !done })
      let start = 0
      // Only the new piece is searched: searching the joined text would make one long event quadratic.
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
        const line = partialLine + text.slice(start, end)
        partialLine = ''
        start = end + 1
        if (isLast(line.endsWith('\r') ? line.slice(0, -1) : line)) {
          void drain(reader)
          return true
        }
      }
      partialLine += start === 0 ? text : text.slice(start)
      if (done) return endsWithMark(data, partialLine, onEvent)
      if (partialLine.length > MAX_LINE_LENGTH) throw new SyntaxError('event without an end')
      onActivity?.()
    }
  } catch (error) {
    void reader.cancel().catch(() => undefined)
    throw error
  }
}

/** Some servers close without the empty line after the last event; a cut event is told from a whole one by its JSON. */
function endsWithMark(data: string | undefined, partialLine: string, onEvent: (event: unknown) => boolean): boolean {
  const text = (data ?? '') + (partialLine.startsWith('data:') ? partialLine.slice(5).trim() : '')
  if (text === '') return false
  if (text.startsWith(DONE)) return true
  const event = parseOrUndefined(text)
  return event !== undefined && onEvent(event)
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Reads the end of a finished body so that its connection can be used again; one that stays open is closed. */
async function drain(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  const timer = setTimeout(() => void reader.cancel().catch(() => undefined), DRAIN_MS)
  timer.unref()
  try {
    while (!(await reader.read()).done);
  } catch {
    // The answer is complete: what happens to its connection now is of no interest.
  } finally {
    clearTimeout(timer)
  }
}
