import type { CancellationToken } from './cancellation-token.ts'

/**
 * Settles as the work does, or rejects with the reason as soon as a token is cancelled or the time is over, whether or
 * not the work reacts. For functions of the caller, which receive no signal.
 */
export function untilCancelled<T>(
  work: Promise<T>,
  tokens: readonly (CancellationToken | undefined)[],
  time?: { readonly limitMs: number; readonly error: () => Error },
): Promise<T> {
  const abort = new AbortController()
  const timer = time && setTimeout(() => abort.abort(time.error()), time.limitMs)
  for (const token of tokens) token?.add(abort)
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(abort.signal.reason)
    if (abort.signal.aborted) onAbort()
    abort.signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject)
  }).finally(() => {
    clearTimeout(timer)
    for (const token of tokens) token?.delete(abort)
  })
}
