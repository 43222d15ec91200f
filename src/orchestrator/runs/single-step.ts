import { CancellationToken } from '../../async/cancellation-token.ts'
import type { FlowStep } from '../../domain/definition/flow-definition.ts'
import { totalsOf } from '../../domain/execution/cost.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { FlowStatus } from '../../domain/vocabulary.ts'
import type { ErrorCode } from '../../errors/error-codes.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Store } from '../../repositories/repository.ts'
import { type FlowExecution, settledResults } from '../flow-run.ts'
import type { RunStep } from '../steps/step-runner.ts'
import { type FlowExecutions, type StartRequest, statusError } from './flow-executions.ts'
import { endObservation } from './observed-run.ts'

export interface SingleStepDeps {
  readonly store: Store
  readonly executions: FlowExecutions
  readonly runStep: RunStep
  readonly ownerId: string
  readonly now: () => Date
}

export type ExecuteOneStep = (order: StartRequest, step: FlowStep) => Promise<StepResult>

const NOT_RUNNING: readonly FlowStatus[] = ['PENDING', 'PAUSED', 'COMPLETED', 'FAILED', 'CANCELLED']

/** Runs one step of a flow that stands still, and leaves the flow in the status it had. */
export function createSingleStep({ store, executions, runStep, ownerId, now }: SingleStepDeps): ExecuteOneStep {
  return (order, step) => executions.track(order.flow.id, execute(order, step))

  async function execute(order: StartRequest, step: FlowStep): Promise<StepResult> {
    const { flow, input } = order
    const claim = {
      flowId: flow.id,
      from: NOT_RUNNING,
      ownerId,
      startedAt: flow.startedAt ?? now(),
      // Another prompt for one step is none for the flow, whose other results were made for its own.
      input: flow.input ?? input.text,
      metadata: flow.metadata,
    }
    const claimed = await store.journal.claim(claim)
    if (!('epoch' in claimed)) throw statusError(flow.id, claimed.status)
    const run = await executions.openOrder(order, { flowId: flow.id, epoch: claimed.epoch }, new CancellationToken(), step.id)
    const work = () => runNext(run, step)
    let errorCode: ErrorCode | undefined
    try {
      return await (run.observation?.within ? run.observation.within(work) : work())
    } catch (error) {
      errorCode = OrchestratorError.from(error).code
      throw error
    } finally {
      const { status, completedAt, error, simulated } = flow
      const result = flow.result && { ...flow.result, ...totalsOf([...run.priorResults, ...settledResults(run)]) }
      const outcome = { status, completedAt, result, error, simulated: simulated || run.results.some((done) => done?.simulated) }
      await run.log.finish(outcome).finally(() => {
        executions.close(flow.id)
        endObservation(run, errorCode, now())
      })
    }
  }

  async function runNext(run: FlowExecution, step: FlowStep): Promise<StepResult> {
    const { steps } = run.definition
    const before = new Set(steps.slice(0, steps.indexOf(step)).map(({ id }) => id))
    const recorded = [...run.recorded.values()].filter((result) => result.sample === 0)
    const visible = recorded.filter((result) => before.has(result.stepId))
    const iteration = Math.max(0, ...recorded.filter((result) => result.stepId === step.id).map((result) => result.iteration)) + 1
    const result = await runStep(run, step, { iteration, visible, verdict: 'read' })
    if (result.status === 'SUCCESS') return result
    const { code = 'STEP_FAILED', message = `Step "${step.id}" failed`, details, retryable } = result.error ?? {}
    throw new OrchestratorError(code, message, { details, retryable })
  }
}
