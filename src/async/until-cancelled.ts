import type { CancellationToken } from './cancellation-token.ts'

/**
 * Settles as the work does, or rejects with the reason when one of the stops ends it or the time is over, whether the work notices or not:
 * for the caller's own functions, which know no signal.
 */
export function untilCancelled<T>(
  work: Promise<T>,
  stops: readonly (CancellationToken | undefined)[],
  time?: { readonly limitMs: number; readonly error: () => Error },
): Promise<T> {
  const abort = new AbortController()
  const timer = time && setTimeout(() => abort.abort(time.error()), time.limitMs)
  for (const stop of stops) stop?.add(abort)
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(abort.signal.reason)
    if (abort.signal.aborted) onAbort()
    abort.signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject)
  }).finally(() => {
    clearTimeout(timer)
    for (const stop of stops) stop?.delete(abort)
  })
}
