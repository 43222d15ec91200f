import { setTimeout as sleep } from 'node:timers/promises'
import type { CancellationToken } from '../async/cancellation-token.ts'
import { untilCancelled } from '../async/until-cancelled.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'

const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 1_000

/**
 * Repeats a read that a running flow needs, or a write that has no further effect the second time, while the database
 * does not answer, because failing the flow would waste the answers that it has paid for. Rejects with the reason as
 * soon as a token is cancelled, and with every other error.
 */
export function repeatRead<T>(read: () => Promise<T>, tokens: readonly (CancellationToken | undefined)[]): Promise<T> {
  let stopped = false
  const repeat = async () => {
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      try {
        return await read()
      } catch (error) {
        if (stopped || !isDatabaseAway(error)) throw error
      }
      await sleep(pauseMs)
      if (stopped) return read()
    }
  }
  return untilCancelled(repeat(), tokens).finally(() => {
    stopped = true
  })
}

/** Whether the same statement may succeed later, when the database answers again. */
export const isDatabaseAway = (error: unknown): boolean =>
  OrchestratorError.is(error) && error.code === 'DATABASE_UNAVAILABLE' && error.retryable
