interface ListenerObject {
  handleEvent(event: Event): void
}
type AbortListener = ((event: Event) => void) | ListenerObject

/**
 * An `AbortSignal` for one request that relays the abort of another signal. It adds a single listener to that signal,
 * and only while it has listeners itself. Thousands of requests wait at once, and an `AbortController` for each would
 * use more memory than everything else kept for them.
 */
export interface RelaySignal extends AbortSignal {
  /** Aborts this signal without aborting the relayed one. */
  abort(): void
  /** Removes every listener, so that a long-lived signal keeps no reference to the request. */
  release(): void
}

export const createRelaySignal = (signal: AbortSignal): RelaySignal => new Relay(signal)

class Relay implements RelaySignal, ListenerObject {
  onabort: ((this: AbortSignal, event: Event) => unknown) | null = null
  readonly #source: AbortSignal
  #listeners: AbortListener[] | undefined
  #isAborted = false
  #reason: unknown

  constructor(source: AbortSignal) {
    this.#source = source
  }

  get aborted(): boolean {
    return this.#isAborted || this.#source.aborted
  }

  get reason(): unknown {
    return this.#isAborted ? this.#reason : this.#source.reason
  }

  throwIfAborted(): void {
    if (this.aborted) throw this.reason
  }

  addEventListener(type: string, listener: AbortListener | null): void {
    if (type !== 'abort' || !listener || this.#listeners?.includes(listener)) return
    if (this.#listeners) this.#listeners.push(listener)
    else {
      this.#listeners = [listener]
      this.#source.addEventListener('abort', this, { once: true })
    }
  }

  removeEventListener(type: string, listener: AbortListener | null): void {
    const at = type === 'abort' && listener ? this.#listeners?.indexOf(listener) : undefined
    if (at === undefined || at < 0) return
    this.#listeners?.splice(at, 1)
    if (this.#listeners?.length === 0) this.release()
  }

  dispatchEvent(event: Event): boolean {
    if (event.type !== 'abort') return true
    const listeners = this.#listeners ?? []
    this.release()
    this.onabort?.(event)
    for (const listener of listeners) {
      if (typeof listener === 'function') listener.call(this, event)
      else listener.handleEvent(event)
    }
    return !event.defaultPrevented
  }

  /** Called by the relayed signal on abort. */
  handleEvent(event: Event): void {
    this.dispatchEvent(event)
  }

  abort(): void {
    if (this.aborted) return
    this.#isAborted = true
    this.#reason = new DOMException('This operation was aborted', 'AbortError')
    this.dispatchEvent(new Event('abort'))
  }

  release(): void {
    if (!this.#listeners) return
    this.#listeners = undefined
    this.#source.removeEventListener('abort', this)
  }
}

// Libraries check `instanceof AbortSignal`. The members above shadow those of the prototype, which throw for other
// objects.
Object.setPrototypeOf(Relay.prototype, AbortSignal.prototype)

/** A native signal for the built-in `fetch`, which rejects any other. */
export function toWholeSignal(signal: AbortSignal | null | undefined): AbortSignal | undefined {
  if (!(signal instanceof Relay)) return signal ?? undefined
  const controller = new AbortController()
  if (signal.aborted) controller.abort(signal.reason)
  else signal.addEventListener('abort', () => controller.abort(signal.reason))
  return controller.signal
}
