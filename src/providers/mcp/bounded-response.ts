import { readBody } from '../transport/transport-response.ts'

/** Bytes that end the lines of a stream of events. */
const LINE_FEED = 10
const CARRIAGE_RETURN = 13
/** Statuses of responses without a body (WHATWG fetch, null body status). */
const WITHOUT_BODY: ReadonlySet<number> = new Set([101, 204, 205, 304])

/**
 * A response of the transport with its body as a stream, which the client of MCP reads. The body fails with `tooLarge`
 * as soon as it has more bytes than `maxBytes`. A stream of events has no end, so each of its events is bounded.
 */
export function boundResponse(response: Response, maxBytes: number, tooLarge: () => Error): Response {
  const { status, statusText } = response
  const headers = new Headers()
  response.headers.forEach((value, name) => void headers.append(name, value))
  const isStream = headers.get('content-type')?.toLowerCase().startsWith('text/event-stream') === true
  const measure = isStream ? longestEvent() : totalLength()
  let isCancelled = false
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const onChunk = (chunk: Uint8Array): boolean => {
        if (isCancelled) return true
        if (measure(chunk) > maxBytes) throw tooLarge()
        controller.enqueue(chunk)
        return false
      }
      readBody(response, onChunk).then(
        () => isCancelled || controller.close(),
        (error: unknown) => isCancelled || controller.error(error),
      )
    },
    cancel() {
      isCancelled = true
    },
  })
  return new Response(WITHOUT_BODY.has(status) ? null : body, { status, statusText, headers })
}

/** Bytes of a body so far. */
function totalLength(): (chunk: Uint8Array) => number {
  let length = 0
  return (chunk) => {
    length += chunk.length
    return length
  }
}

/** Bytes of the longest event in a chunk, with what earlier chunks had of it. An empty line ends an event. */
function longestEvent(): (chunk: Uint8Array) => number {
  let length = 0
  let lineFeeds = 0
  return (chunk) => {
    let longest = 0
    for (const byte of chunk) {
      length++
      longest = Math.max(longest, length)
      if (byte === CARRIAGE_RETURN) continue
      lineFeeds = byte === LINE_FEED ? lineFeeds + 1 : 0
      if (lineFeeds > 1) length = 0
    }
    return longest
  }
}
