import type { CallContext } from '../../calls/call.ts'
import { totalsOf } from '../../domain/execution/cost.ts'
import type { FlowEnding } from '../../domain/execution/observation.ts'
import type { ErrorCode } from '../../errors/error-codes.ts'
import { type FlowExecution, notReplayed, settledResults } from '../flow-run.ts'
import type { StepTask } from '../steps/step-inputs.ts'

/** Reports the end of an execution to its observers. */
export function endObservation(run: FlowExecution, errorCode: ErrorCode | undefined, now: Date): void {
  if (!run.observation) return
  const results = settledResults(run)
  const { totalCost, totalTokens, unpricedSteps } = totalsOf([...results, ...notReplayed(run)])
  run.observation.ended({
    status: statusOf(errorCode),
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

/** Observes the calls of a step; `undefined` where no observer needs call events. */
export function observeCalls({ run, step, iteration, answer }: StepTask, sample: number): CallContext['observe'] {
  const { observation } = run
  const callStarted = observation?.callStarted
  if (!callStarted) return undefined
  return (call) =>
    callStarted({
      ...call,
      stepId: step.id,
      iteration,
      sample,
      action: step.action,
      structured: answer !== undefined,
      settings: step.settings ?? {},
    })
}
