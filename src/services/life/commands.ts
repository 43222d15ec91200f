import type { Clock, StopTimer } from '../../async/clock.ts'
import { onAbort } from '../../async/on-abort.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { MachineModel } from '../machine/machine-model.ts'
import type { ServiceStartOptions } from '../service.ts'

/** The promises of commands on one service. Each settles with the state that it waits for, or with what came first. */
export interface Commands {
  /** Settles the promises that the present state decides; called after every change. */
  settle(): void
  /** Resolves when the service runs; rejects when it does not and will not. */
  untilRunning(options?: ServiceStartOptions): Promise<void>
  /** Resolves when nothing of the run is left; rejects with SERVICE_UNKILLABLE. */
  untilEnded(run: number | undefined): Promise<void>
}

/** What a state means for a waiting command. */
type Outcome = 'pending' | 'reached' | OrchestratorError

interface Waiter {
  readonly outcome: () => Outcome
  readonly resolve: () => void
  readonly reject: (reason: unknown) => void
}

export function createCommands(id: string, clock: Clock, read: () => MachineModel): Commands {
  const waiters = new Set<Waiter>()

  const failure = (fallback: string): OrchestratorError => {
    const { lastError, lastExit } = read()
    const details = { service: id, ...(lastExit && { lastExit }), ...lastError?.details }
    if (lastError) return new OrchestratorError(lastError.code, `"${id}" ${withoutId(lastError.message, id)}`, { details })
    return new OrchestratorError('SERVICE_NOT_RUNNING', `"${id}" ${fallback}`, { details })
  }

  const outcomes = {
    running(): Outcome {
      const { state, next, reason } = read()
      if (state === 'running' || state === 'degraded') return 'reached'
      if (state === 'failed') return failure('failed')
      if (state === 'idle') return failure('ended or was stopped before it was ready')
      return state === 'stopping' && next === 'idle' && reason === 'stopped' ? failure('was stopped') : 'pending'
    },
    ended(run: number | undefined): Outcome {
      const { run: alive, state } = read()
      if (run === undefined || alive !== run) return 'reached'
      return state === 'failed' ? failure('could not be ended') : 'pending'
    },
  }

  function settleOne(waiter: Waiter): void {
    const outcome = waiter.outcome()
    if (outcome === 'pending') return
    waiters.delete(waiter)
    if (outcome === 'reached') waiter.resolve()
    else waiter.reject(outcome)
  }

  const until = (outcome: () => Outcome, { waitMs, signal }: ServiceStartOptions = {}): Promise<void> =>
    new Promise((resolve, reject) => {
      const cleanups: StopTimer[] = []
      const finish = (settle: () => void) => {
        waiters.delete(waiter)
        for (const clean of cleanups) clean()
        settle()
      }
      const waiter: Waiter = { outcome, resolve: () => finish(resolve), reject: (reason) => finish(() => reject(reason)) }
      waiters.add(waiter)
      settleOne(waiter)
      if (!waiters.has(waiter)) return
      if (waitMs !== undefined) cleanups.push(clock.startTimer(waitMs, () => finish(resolve)))
      if (signal?.aborted) waiter.reject(signal.reason)
      else if (signal) cleanups.push(onAbort(signal, () => waiter.reject(signal.reason)))
    })

  return {
    settle() {
      for (const waiter of [...waiters]) settleOne(waiter)
    },
    untilRunning: (options) => until(outcomes.running, options),
    untilEnded: (run) => until(() => outcomes.ended(run)),
  }
}

/** Messages of drivers name the service already. */
const withoutId = (message: string, id: string): string => (message.includes(`"${id}"`) ? `could not start: ${message}` : message)
