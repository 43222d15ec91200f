/** All listeners of one signal. */
interface Group {
  readonly listeners: Set<() => void>
  /** The one listener that the signal itself has. */
  readonly callAll: () => void
}

const groups = new WeakMap<AbortSignal, Group>()

/**
 * Calls the listener once when the signal aborts, and returns the function that removes it. All listeners of a signal
 * share one event listener: with more than ten Node warns of a leak, although one signal for thousands of flows is
 * legitimate. The listener is not called if the signal is already aborted.
 */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  const group = groups.get(signal) ?? createGroup(signal)
  const { listeners, callAll } = group
  // A wrapper per call, so that the same function may be added twice.
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
