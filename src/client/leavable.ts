import { linkAbort } from './abort.ts'

/**
 * A loop that can be left at any moment, also while it waits: `return` aborts what it waits for. A generator alone would finish waiting first.
 * Nothing is begun, and nothing listens to `outer`, before the first item is asked for.
 */
export function createLeavable<T>(
  outer: AbortSignal | undefined,
  run: (signal: AbortSignal) => AsyncIterable<T>,
): AsyncIterableIterator<T> {
  const left = new AbortController()
  async function* items(): AsyncGenerator<T, void> {
    const linked = linkAbort(outer)
    left.signal.addEventListener('abort', () => linked.abort())
    try {
      if (!left.signal.aborted) yield* run(linked.signal)
    } finally {
      linked.unlink()
    }
  }
  const running = items()
  return {
    next: () => running.next(),
    return() {
      left.abort()
      return running.return()
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}
