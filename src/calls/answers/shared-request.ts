import { toAttemptContext } from '../attempt-context.ts'
import type { AttemptCall, AttemptContext, CallResponse, PreparedRequest } from '../call.ts'

/** One request for which several equal calls of one flow wait. */
export interface SharedRequest {
  /** Settles with the request itself. */
  readonly outcome: Promise<CallResponse>
  /** Whether a call waits for it. When the last one leaves, it ends with the abort of that one and serves no other. */
  isAwaited(): boolean
  /**
   * Waits with a call for the answer. An abort of the call ends its waiting; the request continues while another call
   * waits for it. `isPaid`: whether the ledger row of the request belongs to this call.
   */
  take(context: AttemptContext): Promise<{ readonly response: CallResponse; readonly isPaid: boolean }>
}

/**
 * Starts a request with the limits and listeners of the first call. Exactly one call gets its ledger row: the first
 * one, or the next that still waits if the first has left.
 */
export function createSharedRequest(next: AttemptCall, request: PreparedRequest, first: AttemptContext): SharedRequest {
  const controller = new AbortController()
  const waiting = new Set<AttemptContext>([first])
  let payer = first

  const whileWaiting =
    <Value>(listener: ((value: Value) => void) | undefined) =>
    (value: Value): void => {
      if (waiting.has(first)) listener?.(value)
    }
  const { onDelta, onReasoning, onRetry, onActivity } = first
  const shared: AttemptContext = {
    ...toAttemptContext(first, controller.signal),
    abort: undefined,
    onDelta: onDelta && whileWaiting(onDelta),
    onReasoning: onReasoning && whileWaiting(onReasoning),
    onRetry: onRetry && whileWaiting(onRetry),
    onActivity: onActivity && (() => whileWaiting(onActivity)(undefined)),
    onAttempt(attempt) {
      if (payer !== first) payer.progress.attempts += 1
      payer.onAttempt(attempt)
    },
  }
  const outcome = next(request, shared)
  // Every call that waits handles the rejection itself.
  outcome.catch(() => undefined)

  /** Returns whether the request continues for others. */
  function leave(context: AttemptContext): boolean {
    waiting.delete(context)
    const [other] = waiting
    if (!other) {
      controller.abort(context.signal.reason)
      return false
    }
    if (payer === context) payer = other
    return true
  }

  return {
    outcome,
    isAwaited: () => waiting.size > 0,
    take(context) {
      const { signal } = context
      if (signal.aborted) return Promise.reject(signal.reason)
      waiting.add(context)
      return new Promise((resolve, reject) => {
        // The last call that leaves ends the request and gets its ledger row, so it waits for the end.
        const onAbort = () => {
          if (leave(context)) reject(signal.reason)
        }
        signal.addEventListener('abort', onAbort, { once: true })
        outcome.then(
          (response) => {
            signal.removeEventListener('abort', onAbort)
            if (payer === context && context !== first) deliverWhole(response, context)
            resolve({ response, isPaid: payer === context })
          },
          (error) => {
            signal.removeEventListener('abort', onAbort)
            reject(signal.aborted ? signal.reason : error)
          },
        )
      })
    },
  }
}

/** The chunks went to the call that has left. */
function deliverWhole({ text }: CallResponse, { progress, onDelta }: AttemptContext): void {
  if (!onDelta) return
  progress.textDelivered = true
  onDelta(text)
}
