import { totalsOf } from '../../domain/execution/cost.ts'
import type { FlowEnding } from '../../domain/execution/observation.ts'
import type { ErrorCode } from '../../errors/error-codes.ts'
import { type FlowExecution, notReplayed, settledResults } from '../flow-run.ts'

/** Reports the end of an execution to its observers. */
export function endObservation(run: FlowExecution, errorCode: ErrorCode | undefined, now: Date, isPaused = false): void {
  if (!run.observation) return
  const results = settledResults(run)
  const { totalCost, totalTokens, unpricedSteps } = totalsOf([...results, ...notReplayed(run)])
  run.observation.ended({
    status: isPaused ? 'PAUSED' : statusOf(errorCode),
    errorCode,
    durationMs: now.getTime() - run.startedAt.getTime(),
    costUsd: totalCost,
    tokens: totalTokens,
    unpricedSteps,
    simulated: results.some((result) => result.simulated),
  })
}

function statusOf(errorCode: ErrorCode | undefined): FlowEnding['status'] {
  if (errorCode === undefined) return 'COMPLETED'
  if (errorCode === 'FLOW_CANCELLED') return 'CANCELLED'
  return errorCode === 'FLOW_INTERRUPTED' ? 'INTERRUPTED' : 'FAILED'
}
