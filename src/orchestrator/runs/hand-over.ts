import { setTimeout as sleep } from 'node:timers/promises'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { FlowExecution } from '../flow-run.ts'
import type { RunStep } from '../steps/step-runner.ts'

const RECHECK_MS = 10

/**
 * Ends flows between two steps when a process hands over: calls in flight are paid and recorded, and no new one begins.
 * Nothing is counted before `begin`, because every step of every flow passes here.
 */
export interface HandOver {
  begin(): void
  /** Runs steps until `begin`; from then on a flow that asks for its next step is interrupted. */
  wrap(runStep: RunStep): RunStep
}

/** `mayContinue`: whether another process may continue the flow; otherwise it runs on to its end. */
export function createHandOver(mayContinue: (run: FlowExecution) => boolean): HandOver {
  let isActive = false

  async function interrupt(run: FlowExecution): Promise<never> {
    while (hasRunningStep(run) && !run.cancellation.cancelled) await sleep(RECHECK_MS)
    run.cancellation.cancel(
      new OrchestratorError('FLOW_INTERRUPTED', 'The process hands the flow over', { details: { flowId: run.flowId } }),
    )
    throw run.cancellation.reason
  }

  return {
    begin() {
      isActive = true
    },
    wrap: (runStep) => (run, step, options) => (isActive && mayContinue(run) ? interrupt(run) : runStep(run, step, options)),
  }
}

/** Neither a step that runs nor one that waits has a result yet. The flow can wait in the next process as well. */
const hasRunningStep = ({ progress, pause }: FlowExecution): boolean =>
  progress.results.filter((result) => result === undefined).length > (pause?.waiting ?? 0)
