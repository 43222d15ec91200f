import { networkError, PolyphonyError } from '../polyphony-error.ts'
import { startIdleTimer } from '../timing.ts'
import { createEventParser, type ServerSentEvent } from './event-parser.ts'

/**
 * Reads server-sent events from a body, only as fast as they are consumed. Throws NETWORK if the body is interrupted or
 * no byte arrives for `idleTimeoutMs`, and BAD_ANSWER for an event that exceeds every size. Leaving the loop closes the
 * body.
 */
export async function* readEvents(
  body: ReadableStream<Uint8Array>,
  idleTimeoutMs: number,
): AsyncGenerator<ServerSentEvent, void> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  const parse = createEventParser()
  try {
    for (;;) {
      const { done, value } = await within(idleTimeoutMs, reader.read())
      if (done) return
      yield* parse(decoder.decode(value, { stream: true }))
    }
  } catch (error) {
    if (PolyphonyError.is(error)) throw error
    throw error instanceof RangeError
      ? new PolyphonyError('BAD_ANSWER', 'The stream contains an event without an end', { cause: error })
      : networkError('The stream was interrupted', error)
  } finally {
    void reader.cancel().catch(() => undefined)
  }
}

/** A dead connection looks like a quiet one. Servers send heartbeats, so silence means that the connection is dead. */
function within<T>(idleTimeoutMs: number, read: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = startIdleTimer(idleTimeoutMs, () => reject(networkError(`Nothing arrived for ${idleTimeoutMs} ms`)))
    read.then(resolve, reject).finally(stop)
  })
}
