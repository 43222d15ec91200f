import { callListener } from '../../async/call-listener.ts'
import type { CancellationToken } from '../../async/cancellation-token.ts'
import { LONGEST_TIMER_MS } from '../../async/clock.ts'
import { untilCancelled } from '../../async/until-cancelled.ts'
import type { FlowStep } from '../../domain/definition/flow-definition.ts'
import { totalsOf } from '../../domain/execution/cost.ts'
import type { FlowExecutionResult } from '../../domain/execution/flow-result.ts'
import type { FlowObservation } from '../../domain/execution/observation.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { FlowStatus } from '../../domain/vocabulary.ts'
import type { StepWait } from '../../domain/waiting/wait.ts'
import type { Advance, FlowJob } from '../../engines/engine.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Executor, ExecutorContext, ExecutorResult } from '../../executors/executor.ts'
import { compileCondition } from '../../prompts/conditions/condition.ts'
import type { FlowOutcome, StoredFlowResult } from '../../repositories/repository.ts'
import type { ThreadHistory } from '../flow-run.ts'
import { type FlowExecution, notReplayed, settledResults } from '../flow-run.ts'
import { repeatRead } from '../repeat-read.ts'
import { conditionScope } from '../steps/step-condition.ts'
import { createStepContext } from '../steps/step-context.ts'
import { emptyResult } from '../steps/step-record.ts'
import type { RunStep } from '../steps/step-runner.ts'
import { unclosedTurns } from '../tools/closed-turns.ts'
import { storePause, untilPaused } from '../waiting/pause-flow.ts'
import { endObservation } from './end-observation.ts'

export interface FlowRunnerDeps {
  readonly executors: Readonly<Record<string, Executor>>
  /** Implemented by createStepRunner. */
  readonly runStep: RunStep
  /** Implemented by FlowExecutions.open. */
  readonly open: (job: FlowJob, cancellation: CancellationToken) => Promise<FlowExecution>
  /** Implemented by createThreadHistory. */
  readonly historyOf: (run: FlowExecution) => Promise<ThreadHistory>
  readonly now: () => Date
  /**
   * Rejects with PERMISSION_DENIED if the creator of the flow may no longer write its thread. Called when a flow
   * continues after a pause, which may have been long.
   */
  readonly assertMayContinue: (run: FlowExecution) => Promise<void>
  /** Called once per execution with its outcome. Implemented by FlowExecutions.onEnd. */
  readonly onEnd: (job: FlowJob, end: ExecutionEnd) => void
}

/** Of a paused flow: the number of its newest update, after which a caller that waits for the end continues. */
export type ExecutionEnd =
  | { readonly result: FlowExecutionResult }
  | {
      readonly error: OrchestratorError
      /** True if the database did not answer, so that the flow is still RUNNING there. */
      readonly isUnsettled?: boolean
    }
  | { readonly pausedAtSeq: number }

const isAway = (error: OrchestratorError): boolean => error.code === 'DATABASE_UNAVAILABLE'

/** Drives one flow to its end: opens its execution, runs its executor, stores the outcome. Never rejects. */
export function createFlowRunner(deps: FlowRunnerDeps): Advance {
  return (job, cancellation) =>
    deps
      .open(job, cancellation)
      .then(
        (run) => (run.observation ? driveObserved(deps, run, run.observation) : drive(deps, run)),
        (cause): ExecutionEnd => {
          const error = OrchestratorError.from(cause)
          return { error, isUnsettled: isAway(error) }
        },
      )
      .then((end) => {
        deps.onEnd(job, end)
        return 'error' in end && end.isUnsettled ? 'unsettled' : 'settled'
      })
}

function driveObserved(deps: FlowRunnerDeps, run: FlowExecution, { within }: FlowObservation): Promise<ExecutionEnd> {
  const ended = within ? within(() => drive(deps, run)) : drive(deps, run)
  return ended.then((end) => {
    endObservation(run, 'error' in end ? end.error.code : undefined, deps.now(), 'pausedAtSeq' in end)
    return end
  })
}

// Not async: thousands of flows wait here at once, and a suspended async function takes several times the memory of a
// callback.
function drive(deps: FlowRunnerDeps, run: FlowExecution): Promise<ExecutionEnd> {
  const { definition, log, cancellation } = run
  const executor = deps.executors[definition.type]
  if (!executor) return fail(deps, run, new OrchestratorError('FLOW_INVALID', `No executor for flow type "${definition.type}"`))
  const stopTimer = startFlowTimer(run)
  log.emit('flow_start', {
    name: definition.name,
    flowType: definition.type,
    totalSteps: definition.steps.length,
    resumed: run.prior.results.length > 0 || run.pause?.course.wasPaused === true,
    simulated: run.simulated,
  })
  let pausing: Promise<ExecutionEnd | undefined> | undefined
  const failed = async (error: unknown): Promise<ExecutionEnd> => {
    stopTimer()
    // A cancellation that comes while the pause is being stored ends the flow here only if it could not be stored.
    const paused = await pausing
    return paused ?? fail(deps, run, OrchestratorError.from(cancellation.cancelled ? cancellation.reason : error))
  }
  const execute = () =>
    executor.run(definition, contextFor(deps, run)).then((outcome) => {
      stopTimer()
      return complete(deps, run, outcome).catch(failed)
    }, failed)
  if (!run.pause) return execute()
  const allowed = run.pause.course.wasPaused ? repeatRead(() => deps.assertMayContinue(run), [cancellation]) : Promise.resolve()
  return untilPaused(run, run.pause, () => allowed.then(execute, failed)).then((paused) => {
    if (!('waits' in paused)) return paused
    stopTimer()
    pausing = pause(deps, run, paused.waits)
    return pausing.then((end) => end ?? paused.ended)
  })
}

/** The limit counts the time in which the flow runs, without its pauses. One that no timer can hold has no timer. */
function startFlowTimer({ timeoutMs: limitMs, cancellation, flowId, pause: control }: FlowExecution): () => void {
  if (limitMs === undefined || limitMs > LONGEST_TIMER_MS) return () => {}
  const remainingMs = control?.course.wasPaused ? Math.max(0, limitMs - control.course.activeMs) : limitMs
  const timer = setTimeout(() => {
    cancellation.cancel(
      new OrchestratorError('FLOW_TIMEOUT', `The flow took longer than ${limitMs} ms`, { details: { flowId, limitMs } }),
    )
  }, remainingMs)
  return () => clearTimeout(timer)
}

function contextFor(deps: FlowRunnerDeps, run: FlowExecution): ExecutorContext {
  const context = plainContext(deps, run)
  const control = run.pause
  if (!control) return context
  return {
    runStep: (step, options) => control.during(() => context.runStep(step, options)),
    skipStep: (step, reason, iteration) => control.during(() => context.skipStep(step, reason, iteration)),
    conditionHolds: (step, visible, iteration) => control.during(() => context.conditionHolds(step, visible, iteration)),
  }
}

function plainContext(deps: FlowRunnerDeps, run: FlowExecution): ExecutorContext {
  return {
    runStep: (step, options) => deps.runStep(run, step, options),
    skipStep: (step, reason, iteration = 1) => skipStep(deps, run, step, reason, iteration),
    conditionHolds: (step, visible, iteration = 1) => conditionHolds(deps, run, step, visible, iteration),
  }
}

async function skipStep(
  deps: FlowRunnerDeps,
  run: FlowExecution,
  step: FlowStep,
  reason: string,
  iteration: number,
): Promise<StepResult> {
  const result: StepResult = { ...emptyResult(run, step, iteration, deps.now()), status: 'SKIPPED', notes: [reason] }
  run.progress.results.push(result)
  run.log.emit('step_skipped', { reason }, step.id, iteration)
  run.log.record([result])
  return result
}

async function conditionHolds(
  deps: FlowRunnerDeps,
  run: FlowExecution,
  step: FlowStep,
  visible: readonly StepResult[],
  iteration: number,
): Promise<boolean> {
  if (step.condition === undefined) return true
  try {
    if (typeof step.condition === 'string')
      return compileCondition(step.condition).evaluate(conditionScope(run, visible, iteration))
    const { messages: history } = await deps.historyOf(run)
    const outcome = Promise.resolve(step.condition(createStepContext({ run, step, iteration, visible, history })))
    // Truthiness counts: a condition may return the result of a text match.
    return Boolean(await untilCancelled(outcome, [run.cancellation]))
  } catch (error) {
    if (run.cancellation.cancelled) throw run.cancellation.reason
    const path = `steps[${run.definition.steps.indexOf(step)}].condition`
    const cause = OrchestratorError.is(error) ? error.message : error instanceof Error ? error.name : typeof error
    throw new OrchestratorError('STEP_FAILED', `The condition of step "${step.id}" could not be evaluated: ${cause}`, {
      details: { flowId: run.flowId, stepId: step.id, path },
      cause: error,
    })
  }
}

async function complete(deps: FlowRunnerDeps, run: FlowExecution, outcome: ExecutorResult): Promise<ExecutionEnd> {
  if (run.cancellation.cancelled) throw run.cancellation.reason
  const { final, output, stopReason } = withAnswer(run, outcome)
  const result = toResult(deps, run, { final, output, stopReason })
  const { flowId, status, finalOutput, steps, simulated, ...totals } = result
  run.log.emit('flow_complete', result)
  const spent = run.budget && { ...run.budget.spent }
  const stored = final
    ? { ...totals, spent, final: { path: final.path, iteration: final.iteration, sample: 0 } }
    : { ...totals, spent, output: finalOutput }
  await run.log.finish({ status, completedAt: deps.now(), result: stored, simulated }, unclosedTurns(run))
  callListener(() => run.definition.onFlowComplete?.(result))
  return { result }
}

/**
 * A flow is complete only with an answer. If its executor returns none, the last successful step provides it. If no
 * step succeeded, the flow fails with the code of its first failure.
 */
function withAnswer(run: FlowExecution, outcome: ExecutorResult): ExecutorResult {
  const text = outcome.final?.output ?? outcome.output
  if (text !== undefined && text.trim() !== '') return outcome
  const steps = settledResults(run)
  const last = steps.findLast(({ status }) => status === 'SUCCESS')
  if (last) return { ...outcome, final: last, output: undefined }
  const failed = steps.find(({ error }) => error !== undefined)
  const outcomes = steps.map(({ stepId, status, notes }) => `"${stepId}" ${status}${notes[0] ? ` (${notes[0]})` : ''}`)
  const message = `Expected at least one step to succeed, found ${outcomes.slice(0, 5).join(', ') || 'none that ran'}`
  if (!failed?.error) throw new OrchestratorError('NO_BRANCH_MATCHED', message)
  const { code, details, retryable } = failed.error
  throw new OrchestratorError(code, `${message}: ${failed.error.message}`, { details, retryable })
}

function toResult(deps: FlowRunnerDeps, run: FlowExecution, outcome: ExecutorResult): FlowExecutionResult {
  const steps = settledResults(run)
  return {
    flowId: run.flowId,
    status: 'COMPLETED',
    finalOutput: outcome.final?.output ?? outcome.output ?? '',
    steps,
    ...totalsOf([...steps, ...notReplayed(run)]),
    totalExecutionTime: deps.now().getTime() - run.startedAt.getTime(),
    stopReason: outcome.stopReason,
    simulated: steps.some((step) => step.simulated),
  }
}

/** Resolves with `undefined` if the pause could not be stored. */
async function pause(deps: FlowRunnerDeps, run: FlowExecution, waits: readonly StepWait[]): Promise<ExecutionEnd | undefined> {
  try {
    await storePause(run, waits, run.budget && unfinishedResult(deps, run))
    return { pausedAtSeq: run.log.lastSeq }
  } catch (error) {
    // The flow would stay RUNNING: the steps that wait end with the error, and the flow with them.
    run.cancellation.cancel(error)
    return undefined
  }
}

const unfinishedResult = (deps: FlowRunnerDeps, run: FlowExecution): StoredFlowResult => ({
  ...totalsOf([...settledResults(run), ...notReplayed(run)]),
  totalExecutionTime: deps.now().getTime() - run.startedAt.getTime(),
  ...(run.budget && { spent: { ...run.budget.spent } }),
})

async function fail(deps: FlowRunnerDeps, run: FlowExecution, cause: OrchestratorError): Promise<ExecutionEnd> {
  const error = cause.with({ flowId: run.flowId })
  // Another process owns the flow or will, so this execution stores no outcome.
  if (error.code === 'FLOW_INTERRUPTED') {
    // The flow may be put back into the queue now, under an epoch that refuses results which are still being written.
    await run.log.release()
    return { error }
  }
  const cancelled = error.code === 'FLOW_CANCELLED'
  if (cancelled) run.log.emit('flow_cancelled', { reason: error.message })
  else run.log.emit('error', error.toJSON(), stepOf(error))
  const status: FlowStatus = cancelled ? 'CANCELLED' : 'FAILED'
  const outcome: FlowOutcome = {
    status,
    completedAt: deps.now(),
    error: error.toJSON(),
    result: run.budget && unfinishedResult(deps, run),
    simulated: run.progress.results.some((step) => step?.simulated),
  }
  callListener(() =>
    cancelled ? undefined : run.definition.onError?.({ ...error.toJSON(), flowId: run.flowId, stepId: stepOf(error) }),
  )
  try {
    await run.log.finish(outcome)
  } catch (refusal) {
    const refused = OrchestratorError.from(refusal)
    return { error: refused.code === 'FLOW_INTERRUPTED' ? refused : error, isUnsettled: isAway(refused) }
  }
  return { error }
}

const stepOf = (error: OrchestratorError): string | undefined =>
  typeof error.details.stepId === 'string' ? error.details.stepId : undefined
