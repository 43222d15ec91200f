import { onAbort } from '../async/on-abort.ts'

export interface LinkedAbort {
  readonly signal: AbortSignal
  readonly abort: (reason?: unknown) => void
  /** No longer listens; to be called when the work is over, because the signal of a caller may live long. */
  readonly unlink: () => void
}

/** A signal of its own that follows another one. `AbortSignal.any` is not there in every browser, and leaks in Node 20. */
export function linkAbort(outer: AbortSignal | undefined): LinkedAbort {
  const controller = new AbortController()
  const follow = () => controller.abort(outer?.reason)
  if (outer?.aborted) follow()
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    unlink: outer ? onAbort(outer, follow) : () => {},
  }
}

/** Rejects with the reason as soon as the signal is aborted, whatever the work does about it. */
export function untilAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const end = () => reject(signal.reason)
    if (signal.aborted) end()
    const unlink = onAbort(signal, end)
    work.then(resolve, reject).finally(unlink)
  })
}
