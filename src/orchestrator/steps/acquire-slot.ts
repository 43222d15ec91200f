import type { CancellationToken } from '../../async/cancellation-token.ts'
import type { Limiter } from '../../executors/executor.ts'

/**
 * Resolves with a release function when a slot is free. Cancellation ends the wait at once: the promise rejects with
 * the reason, and the slot goes to the next waiting call.
 */
export function acquireSlot(limit: Limiter, stops: readonly (CancellationToken | undefined)[]): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const waiting = new AbortController()
    const leave = () => {
      for (const stop of stops) stop?.delete(waiting)
    }
    waiting.signal.addEventListener('abort', () => reject(waiting.signal.reason), { once: true })
    for (const stop of stops) stop?.add(waiting)
    void limit(() => {
      leave()
      return waiting.signal.aborted ? undefined : new Promise<void>(resolve)
    })
  })
}

/** The slot of a call among those that run at once, which it may leave for a time. */
export interface StepSlot {
  enter(): Promise<void> | undefined
  leave(): void
}

/** The slot of one call; without a limit every call has one. */
export function slotIn(limit: Limiter | undefined, stops: readonly (CancellationToken | undefined)[]): StepSlot {
  if (!limit) return UNLIMITED
  let release: (() => void) | undefined
  return {
    async enter() {
      release = await acquireSlot(limit, stops)
    },
    leave() {
      release?.()
      release = undefined
    },
  }
}

const UNLIMITED: StepSlot = { enter: () => undefined, leave: () => {} }
