import { type Clock, wait } from '../../../async/clock.ts'
import type { FunctionContext } from '../../../domain/tools/functions.ts'
import { OperationError } from '../../../errors/operation-error.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { delayAfter, type RetryPolicy } from '../orchestrator-config.ts'
import { type RunOwnStep, STEP_FUNCTION } from '../orchestrator-deps.ts'
import { MAX_TYPE_LENGTH, type WorkflowStep } from './workflow.ts'

/** Data of workflows that executors read back. It has the unchecked type of `JSON.parse`. */
type OwnData = ReturnType<typeof JSON.parse>

/** What an executor of the user knows besides its step. */
export interface StepExecutorContext {
  readonly executionId: string
  readonly workflowId: string
  readonly userId: string
  /** The second argument of `executeWorkflow`. */
  readonly input: OwnData
  /** Values of the steps before this one, by id. */
  readonly results: Readonly<Record<string, OwnData>>
  /** From 1. */
  readonly attempt: number
  /** The same for the same step of the same execution, in every process and after a crash. */
  readonly idempotencyKey: string
  /** Aborted when the execution is cancelled or its time is over. */
  readonly signal: AbortSignal
}

/** What an executor returns. `output` is a JSON value; `error` says why `success` is false. */
export interface StepOutcome {
  readonly success: boolean
  readonly output?: unknown
  readonly error?: unknown
}

/** Runs the steps of one type. */
export type StepExecutor = (step: WorkflowStep, context: StepExecutorContext) => StepOutcome | Promise<StepOutcome>

/** Executors by type of the steps that they run. */
export class StepExecutors extends Map<string, StepExecutor> {
  /** Throws CONFIG_INVALID for a type that no step can have and for what cannot be called. */
  override set(type: string, run: StepExecutor): this {
    if (typeof type !== 'string' || type === '' || type.length > MAX_TYPE_LENGTH) {
      throw wrongExecutor(
        `a type of 1 to ${MAX_TYPE_LENGTH} characters`,
        typeof type === 'string' ? `${type.length}` : typeof type,
      )
    }
    if (typeof run !== 'function') throw wrongExecutor(`a function for "${type}"`, typeof run)
    return super.set(type, run)
  }
}

const wrongExecutor = (expected: string, found: string): OrchestratorError =>
  new OrchestratorError('CONFIG_INVALID', `stepExecutors.set: expected ${expected}, found ${found}`)

/** The step and the context of a call, without its attempt and its end. */
export interface OwnStepCall {
  readonly step: WorkflowStep
  readonly context: Omit<StepExecutorContext, 'attempt' | 'signal' | 'idempotencyKey' | 'userId'>
}

export interface OwnStepDeps {
  readonly clock: Clock
  readonly executors: ReadonlyMap<string, StepExecutor>
  /** The policy by which steps are repeated; `undefined`: they are tried once. */
  readonly policy: RetryPolicy | undefined
  /** Finds the step that a function call stands for. */
  findCall(context: FunctionContext, given: unknown): OwnStepCall | undefined
  /** Receives the error that an executor threw, which the flow stores without its message. */
  onError(context: FunctionContext, error: unknown): void
}

/** The function behind all steps with executors of the user. */
export const createOwnSteps =
  ({ clock, executors, policy, findCall, onError }: OwnStepDeps): RunOwnStep =>
  async (given, context) => {
    const call = findCall(context, given)
    const run = call && executors.get(call.step.type)
    if (!call || !run)
      throw new OperationError(`no executor of this orchestrator runs the step "${context.stepId}"`, { retryable: false })
    const { userId, signal, idempotencyKey } = context
    for (let attempt = 1; ; attempt++) {
      try {
        return readOutcome(await run(call.step, { ...call.context, userId, signal, idempotencyKey, attempt }))
      } catch (error) {
        const isLast = attempt >= (policy?.maxAttempts ?? 1) || signal.aborted
        if (!policy || isLast || (OperationError.is(error) && !error.retryable)) {
          onError(context, error)
          throw error
        }
        await wait(clock, delayAfter(policy, attempt), signal)
      }
    }
  }

function readOutcome(outcome: StepOutcome): unknown {
  if (typeof outcome !== 'object' || outcome === null || typeof outcome.success !== 'boolean') {
    const found = outcome === null ? 'null' : typeof outcome
    throw new OperationError(`expected { success: boolean, output }, found ${found}`, { retryable: false })
  }
  if (outcome.success) return outcome.output ?? null
  throw new OperationError(toWords(outcome.error) ?? 'reported success: false')
}

function toWords(error: unknown): string | undefined {
  if (typeof error === 'string' && error !== '') return error
  return error instanceof Error ? error.message : undefined
}

/** What is said of a call of the function behind own steps. */
const ABOUT_OWN_STEP = new RegExp(`^Function "${STEP_FUNCTION}(?:_\\d+)?" (.*)$`, 's')

/**
 * The error of an execution. That of an executor of the user has the words of the executor, which are not stored with
 * the flow, and no name of the function that the user never registered. `step`: the step that failed; `thrown`: what
 * its executor threw.
 */
export function inOwnWords(error: OrchestratorError, step: WorkflowStep | undefined, thrown: unknown): OrchestratorError {
  if (!step) return error
  const executor = `Step "${step.id}": executor "${step.type}"`
  const words = thrown instanceof Error ? `failed: ${thrown.message}` : ABOUT_OWN_STEP.exec(error.message)?.[1]
  if (words === undefined) return error
  return new OrchestratorError(error.code, `${executor} ${words}`, {
    details: error.details,
    cause: thrown ?? error.cause,
    retryable: error.retryable,
  })
}
