/** Listeners of a signal that is listened to. */
interface Group {
  readonly listeners: Set<() => void>
  /** The one listener that the signal itself has. */
  readonly callAll: () => void
}

const groups = new WeakMap<AbortSignal, Group>()

/**
 * Calls the listener once when the signal is aborted, and returns what stops the listening. However many listen, the signal itself has one listener:
 * with more than ten Node warns of a leak, although one signal for thousands of flows is no mistake. A signal that is aborted already calls nobody.
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
