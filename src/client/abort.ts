import { onAbort } from '../async/on-abort.ts'

export interface LinkedAbort {
  readonly signal: AbortSignal
  readonly abort: (reason?: unknown) => void
  /**
   * Removes the listener from the outer signal. Must be called when the work is done: the signal of a caller may live
   * long.
   */
  readonly unlink: () => void
}

/**
 * A new signal that aborts when the outer one does. `AbortSignal.any` is missing in some browsers and leaks memory in
 * Node 20.
 */
export function linkAbort(outer: AbortSignal | undefined): LinkedAbort {
  const controller = new AbortController()
  const abortWithOuter = () => controller.abort(outer?.reason)
  if (outer?.aborted) abortWithOuter()
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    unlink: outer ? onAbort(outer, abortWithOuter) : () => {},
  }
}

/**
 * Settles with the work, or rejects with the signal's reason as soon as it is aborted. Does not cancel the work itself.
 */
export function rejectOnAbort<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const end = () => reject(signal.reason)
    if (signal.aborted) end()
    const unlink = onAbort(signal, end)
    work.then(resolve, reject).finally(unlink)
  })
}
