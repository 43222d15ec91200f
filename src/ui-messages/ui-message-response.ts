import { type FlowUpdates, toUIMessageStream, type UIMessageStreamOptions } from './ui-message-stream.ts'

/** Options of `toUIMessageStreamResponse`. */
export interface UIMessageResponseOptions extends UIMessageStreamOptions {
  /** Further headers. */
  readonly headers?: Readonly<Record<string, string>>
  /** Milliseconds of silence after which a comment is sent, so that no proxy closes the connection; default 15,000. */
  readonly heartbeatMs?: number
}

const HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache',
  'x-vercel-ai-ui-message-stream': 'v1',
  'x-accel-buffering': 'no',
}
const HEARTBEAT = ': ping\n\n'
const END = 'data: [DONE]\n\n'

/**
 * The response that `useChat` reads: the chunks of `toUIMessageStream` as server-sent events. Chunks are made only as
 * fast as they are sent. A client that disconnects ends the reading of the updates, never the flow.
 */
export function toUIMessageStreamResponse(updates: FlowUpdates, options: UIMessageResponseOptions = {}): Response {
  const { headers, heartbeatMs = 15_000, ...streamOptions } = options
  const reader = toUIMessageStream(updates, streamOptions).getReader()
  const encoder = new TextEncoder()
  let reading: ReturnType<typeof reader.read> | undefined
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        reading ??= reader.read()
        const next = await unlessLate(reading, heartbeatMs)
        if (next) reading = undefined
        const text = next ? (next.done ? END : `data: ${JSON.stringify(next.value)}\n\n`) : HEARTBEAT
        controller.enqueue(encoder.encode(text))
        if (next?.done) controller.close()
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  )
  return new Response(body, { headers: { ...HEADERS, ...headers } })
}

/** What a promise resolves with; undefined when that takes longer. */
async function unlessLate<Value>(promise: Promise<Value>, afterMs: number): Promise<Value | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), afterMs)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
