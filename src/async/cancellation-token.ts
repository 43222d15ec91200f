/**
 * Ends work from outside, as an AbortController does, at a tenth of its weight: one stands beside every flow that waits, and only
 * what is really under way has a controller of its own, which is added here. A class, so that its functions are shared.
 */
export class CancellationToken {
  #cancelled = false
  #reason: unknown
  #underWay: Set<AbortController> | undefined

  get cancelled(): boolean {
    return this.#cancelled
  }

  get reason(): unknown {
    return this.#reason
  }

  /** Aborts everything under way with the reason, and everything that is added later. Only the first call counts. */
  cancel(reason: unknown): void {
    if (this.#cancelled) return
    this.#cancelled = true
    this.#reason = reason
    const controllers = [...(this.#underWay ?? [])]
    this.#underWay = undefined
    for (const controller of controllers) controller.abort(reason)
  }

  /** Must be paired with `delete` when the work is done. */
  add(controller: AbortController): void {
    if (this.#cancelled) controller.abort(this.#reason)
    else {
      this.#underWay ??= new Set()
      this.#underWay.add(controller)
    }
  }

  delete(controller: AbortController): void {
    this.#underWay?.delete(controller)
  }
}
