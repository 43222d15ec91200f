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

/** Listeners of a signal that is listened to. */
interface Group {
  readonly listeners: Set<() => void>
  /** The one listener that the signal itself has. */
  readonly callAll: () => void
}

const groups = new WeakMap<AbortSignal, Group>()

/**
 * Calls the listener once when the signal is aborted, and returns what stops the listening. However many listen, the signal itself has one listener:
 * with more than ten Node warns of a leak, although one signal for thousands of calls is no mistake. A signal that is aborted already calls nobody.
 */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  const group = groups.get(signal) ?? createGroup(signal)
  const { listeners, callAll } = group
  // A function given twice is two listeners.
  const own = () => listener()
  listeners.add(own)
  return () => {
    if (!listeners.delete(own) || listeners.size > 0) return
    groups.delete(signal)
    signal.removeEventListener('abort', callAll)
  }
}

function createGroup(signal: AbortSignal): Group {
  const listeners = new Set<() => void>()
  const callAll = () => {
    groups.delete(signal)
    for (const listener of listeners) {
      listeners.delete(listener)
      listener()
    }
  }
  const group = { listeners, callAll }
  groups.set(signal, group)
  signal.addEventListener('abort', callAll, { once: true })
  return group
}
