import type { CallContext } from '../../calls/call.ts'
import type { StepTask } from './step-inputs.ts'

/** Observes the calls of a step; `undefined` if no observer needs call events. */
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
