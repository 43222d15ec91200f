import type { FlowStep } from '../../domain/definition/flow-definition.ts'
import { totalsOf } from '../../domain/execution/cost.ts'
import { notStartable } from '../../domain/execution/flow-errors.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { FlowStatus } from '../../domain/vocabulary.ts'
import { isWaitingStep } from '../../domain/waiting/waiting-steps.ts'
import type { FlowJob } from '../../engines/engine.ts'
import type { ErrorCode } from '../../errors/error-codes.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Store, StoredFlow } from '../../repositories/repository.ts'
import { type FlowExecution, settledResults } from '../flow-run.ts'
import type { RunStep } from '../steps/step-runner.ts'
import type { LiveUpdates } from '../updates/live-updates.ts'
import { endObservation } from './end-observation.ts'
import type { OpenExecution } from './open-execution.ts'
import { keyOptions } from './queued-options.ts'
import { attachmentsToStore, type StartRequest } from './run-input.ts'
import type { Run, RunRegistry } from './run-registry.ts'

export interface SingleStepDeps {
  readonly store: Store
  readonly registry: RunRegistry
  /** Implemented by createOpenExecution. */
  readonly openExecution: OpenExecution
  /** Implemented by createStepRunner. */
  readonly runStep: RunStep
  readonly live: LiveUpdates
  readonly ownerId: string
  readonly now: () => Date
}

export type ExecuteOneStep = (request: StartRequest, step: FlowStep) => Promise<StepResult>

const NOT_RUNNING: readonly FlowStatus[] = ['PENDING', 'COMPLETED', 'FAILED', 'CANCELLED']

/** Runs one step of a flow that is not running, and restores the flow's status afterwards. */
export function createSingleStep(deps: SingleStepDeps): ExecuteOneStep {
  const { store, registry, openExecution, runStep, now } = deps

  return async (request, step) => {
    const { id: flowId, status } = request.flow
    if (isWaitingStep(step)) {
      throw new OrchestratorError(
        'INPUT_INVALID',
        `executeStep: expected a step that a provider answers, found "${step.id}", which waits`,
        {
          details: { flowId, stepId: step.id },
        },
      )
    }
    if (!NOT_RUNNING.includes(status)) throw notStartable(flowId, { status })
    const result = registry.detach(request, (run) => execute(run, request, step))
    if (!result) throw notStartable(request.flow.id, { status: 'RUNNING' })
    return result
  }

  async function execute(run: Run, request: StartRequest, step: FlowStep): Promise<StepResult> {
    const { flow, input } = request
    const claim = {
      flowId: flow.id,
      // Its outcome is given back afterwards, so it must be the one that was read.
      from: [flow.status],
      epoch: flow.ownerEpoch,
      ownerId: deps.ownerId,
      startedAt: flow.startedAt ?? now(),
      // The flow keeps its own prompt, from which its other results were made.
      input: flow.input ?? input.text,
      metadata: flow.metadata,
      attachments: flow.input === undefined ? attachmentsToStore(flow, input) : undefined,
      runOptions: keyOptions(flow.runOptions),
    }
    const claimed = await store.journal.claim(claim)
    if (!('epoch' in claimed)) {
      const hasRun = claimed.status !== undefined && NOT_RUNNING.includes(claimed.status)
      throw notStartable(flow.id, { ...claimed, status: hasRun ? 'RUNNING' : claimed.status })
    }
    const job = { flowId: flow.id, epoch: claimed.epoch }
    let execution: FlowExecution | undefined
    let errorCode: ErrorCode | undefined
    try {
      const opened = await openExecution(request, { job, cancellation: run.cancellation, onlyStepId: step.id })
      execution = opened
      run.execution = opened
      const work = () => runNext(opened, step)
      return await (opened.observation?.within ? opened.observation.within(work) : work())
    } catch (error) {
      errorCode = OrchestratorError.from(error).code
      throw error
    } finally {
      await restore(flow, job, execution).finally(() => {
        registry.remove(run)
        deps.live.ended(flow.id)
        if (execution) endObservation(execution, errorCode, now())
      })
    }
  }

  /** Gives the flow its outcome back, also where no execution could be opened. */
  function restore(flow: StoredFlow, job: FlowJob, execution: FlowExecution | undefined): Promise<void> {
    const { status, completedAt, error, result, simulated } = flow
    if (!execution) {
      return store.journal.finish({ ...job, updates: [], outcome: { status, completedAt, error, result, simulated } })
    }
    const { prior, progress, log } = execution
    return log.finish({
      status,
      completedAt,
      error,
      result: result && { ...result, ...totalsOf([...prior.results, ...settledResults(execution)]) },
      simulated: simulated || progress.results.some((done) => done?.simulated),
    })
  }

  async function runNext(execution: FlowExecution, step: FlowStep): Promise<StepResult> {
    const { steps } = execution.definition
    const before = new Set(steps.slice(0, steps.indexOf(step)).map(({ id }) => id))
    const recorded = [...execution.prior.recorded.values()].filter((result) => result.sample === 0)
    const visible = recorded.filter((result) => before.has(result.stepId))
    const iteration = Math.max(0, ...recorded.filter((result) => result.stepId === step.id).map((result) => result.iteration)) + 1
    const result = await runStep(execution, step, { iteration, visible, verdict: 'read' })
    if (result.status === 'SUCCESS') return result
    const { code = 'STEP_FAILED', message = `Step "${step.id}" failed`, details, retryable } = result.error ?? {}
    throw new OrchestratorError(code, message, { details, retryable })
  }
}
