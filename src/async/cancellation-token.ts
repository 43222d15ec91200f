/**
 * Cancels work from outside, as an AbortController does, with about a tenth of its memory: one exists per waiting flow,
 * and only running work adds a controller of its own. It is a class so that all tokens share their functions.
 */
export class CancellationToken {
  #cancelled = false
  #reason: unknown
  #controllers: Set<AbortController> | undefined

  get cancelled(): boolean {
    return this.#cancelled
  }

  get reason(): unknown {
    return this.#reason
  }

  /** Aborts all running work with the reason, and all work that is added later. Only the first call counts. */
  cancel(reason: unknown): void {
    if (this.#cancelled) return
    this.#cancelled = true
    this.#reason = reason
    const running = [...(this.#controllers ?? [])]
    this.#controllers = undefined
    for (const controller of running) controller.abort(reason)
  }

  /** Must be paired with `delete` when the work is done. */
  add(controller: AbortController): void {
    if (this.#cancelled) controller.abort(this.#reason)
    else {
      this.#controllers ??= new Set()
      this.#controllers.add(controller)
    }
  }

  delete(controller: AbortController): void {
    this.#controllers?.delete(controller)
  }
}
