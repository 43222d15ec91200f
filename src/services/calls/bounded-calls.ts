import type { Clock } from '../../async/clock.ts'
import { onAbort } from '../../async/on-abort.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

export interface BoundedCallsOptions {
  /** Id of the service, for messages. */
  readonly id: string
  /** Calls at the same time; absent: no limit. Not read with `enter`. */
  readonly maxConcurrency: number | undefined
  /**
   * Waits until the rates of the service's provider allow one more request, and returns what gives its slot back. So
   * one limit holds for the steps of flows and for these calls together. Rejects with the reason of an abort.
   */
  readonly enter?: (signal: AbortSignal) => Promise<() => void>
  /** Milliseconds for one call, from its beginning and not from its arrival. */
  readonly timeoutMs: number
  readonly clock: Clock
}

/** Runs calls of one service. Rejects with PROVIDER_UNAVAILABLE after the timeout, and with the reason of an abort. */
export type BoundedCalls = <Value>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<Value>) => Promise<Value>

/** Lets so many calls of `call` to one service run at once; the others wait in the order of their arrival. */
export function createBoundedCalls({ id, maxConcurrency, enter, timeoutMs, clock }: BoundedCallsOptions): BoundedCalls {
  const enterQueue = enter ?? createQueue(maxConcurrency)

  return async (signal, work) => {
    signal.throwIfAborted()
    const entered = enterQueue(signal)
    // Below the limit nothing waits, not even for a turn of the event loop.
    const leave = entered instanceof Promise ? await entered : entered
    const timeout = new AbortController()
    const stopTimer = clock.startTimer(timeoutMs, () => {
      const message = `expected an answer of the service "${id}" within ${timeoutMs} ms`
      timeout.abort(new OrchestratorError('PROVIDER_UNAVAILABLE', message, { details: { service: id, timeoutMs } }))
    })
    try {
      return await work(AbortSignal.any([signal, timeout.signal]))
    } finally {
      stopTimer()
      leave()
    }
  }
}

/** First come, first served. */
function createQueue(maxConcurrency: number | undefined): (signal: AbortSignal) => (() => void) | Promise<() => void> {
  const waiting = new Set<() => void>()
  let running = 0

  const hasRoom = (): boolean => maxConcurrency === undefined || running < maxConcurrency

  /** A call that is given up while it waits leaves the queue and never runs. */
  const untilAdmitted = (signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const admit = () => {
        stopWatching()
        resolve()
      }
      const stopWatching = onAbort(signal, () => {
        waiting.delete(admit)
        reject(signal.reason)
      })
      waiting.add(admit)
    })

  /** The next call takes over the slot, so that none that comes later is before it. */
  function leave(): void {
    const [next] = waiting
    if (!next) {
      running--
      return
    }
    waiting.delete(next)
    next()
  }

  return (signal) => {
    if (!hasRoom()) return untilAdmitted(signal).then(() => leave)
    running++
    return leave
  }
}
