import { linkAbort } from './abort.ts'

/**
 * An iterator whose `return` aborts the pending `next`. With a generator alone, `return` would wait until `next`
 * settles. Before the first `next`, nothing is started and nothing listens to `outer`.
 */
export function createAbortableIterator<T>(
  outer: AbortSignal | undefined,
  run: (signal: AbortSignal) => AsyncIterable<T>,
): AsyncIterableIterator<T> {
  const returned = new AbortController()
  async function* items(): AsyncGenerator<T, void> {
    const linked = linkAbort(outer)
    returned.signal.addEventListener('abort', () => linked.abort())
    try {
      if (!returned.signal.aborted) yield* run(linked.signal)
    } finally {
      linked.unlink()
    }
  }
  const running = items()
  return {
    next: () => running.next(),
    return() {
      returned.abort()
      return running.return()
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}
