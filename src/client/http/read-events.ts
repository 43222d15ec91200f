import { networkError, PolyphonyError } from '../polyphony-error.ts'
import { startIdleTimer } from '../timing.ts'
import { createEventParser, type ServerSentEvent } from './event-parser.ts'

/**
 * The events of a body, read from the network only as fast as they are taken. Ends with the body; throws NETWORK where it is cut or where no byte
 * arrives for `idleTimeoutMs`. Leaving it closes the body.
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
      ? new PolyphonyError('BAD_ANSWER', 'The stream holds an event without an end', { cause: error })
      : networkError('The stream was cut', error)
  } finally {
    void reader.cancel().catch(() => undefined)
  }
}

/** A connection that died without a word looks like a quiet one; but a server that is there sends heartbeats. */
function within<T>(idleTimeoutMs: number, read: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = startIdleTimer(idleTimeoutMs, () => reject(networkError(`Nothing arrived for ${idleTimeoutMs} ms`)))
    read.then(resolve, reject).finally(stop)
  })
}
