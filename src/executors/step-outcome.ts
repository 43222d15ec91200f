import * as z from 'zod'
import { CancellationToken } from '../async/cancellation-token.ts'
import type { AnswerStep } from '../domain/answers/answer-text.ts'
import type { FlowDefinition, FlowStep } from '../domain/definition/flow-definition.ts'
import type { StepResult } from '../domain/execution/step-result.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { missingInput, stepPlans } from '../prompts/step-plan.ts'
import type { ExecutorContext, RunStepOptions } from './executor.ts'

/** The error that ends the flow after a failed step, with the step's own code. */
export function failureOf(result: StepResult): OrchestratorError {
  const error = result.error
  if (!error)
    return new OrchestratorError('STEP_FAILED', `Step "${result.stepId}" failed`, { details: { stepId: result.stepId } })
  return new OrchestratorError(error.code, error.message, { details: error.details, retryable: error.retryable })
}

/**
 * Runs a step that has its inputs and whose condition holds; skips it otherwise. A failure ends the flow unless the
 * step is optional.
 */
export async function runIfReady(
  definition: FlowDefinition,
  step: FlowStep,
  context: ExecutorContext,
  options: RunStepOptions,
): Promise<StepResult> {
  const reason = await whyNotReady(definition, step, context, options)
  if (reason !== undefined) return context.skipStep(step, reason, options.iteration)
  return required(step, await context.runStep(step, options))
}

/** Whether a step has its inputs and its condition holds. Otherwise records the step as skipped. */
export async function readyOrSkipped(
  definition: FlowDefinition,
  step: FlowStep,
  context: ExecutorContext,
  options: RunStepOptions,
): Promise<boolean> {
  const reason = await whyNotReady(definition, step, context, options)
  if (reason !== undefined) await context.skipStep(step, reason, options.iteration)
  return reason === undefined
}

async function whyNotReady(
  definition: FlowDefinition,
  step: FlowStep,
  context: ExecutorContext,
  { visible, iteration, input }: RunStepOptions,
): Promise<string | undefined> {
  const missing = missingFor(definition, step, visible, input !== undefined)
  if (missing !== undefined || step.condition === undefined) return missing
  return (await context.conditionHolds(step, visible, iteration)) ? undefined : 'condition'
}

/** The reason why a step cannot run with the results that it may see; `undefined` if it can. */
export function missingFor(
  definition: FlowDefinition,
  step: FlowStep,
  visible: readonly StepResult[],
  isGiven = false,
): string | undefined {
  const plan = stepPlans(definition).get(step.id)
  if (!plan || plan.inputs.size === 0) return undefined
  // In a loop a step has several results. Only whether one of them succeeded matters here.
  const outcomeOf = (id: string) => {
    const results = visible.filter(({ stepId }) => stepId === id)
    return results.find(succeeded) ?? results[0]
  }
  return missingInput(plan, outcomeOf, isGiven)
}

/** Returns the result. Throws if it is a failure that ends the flow. */
export function required(step: FlowStep, result: StepResult): StepResult {
  if (result.status === 'FAILED' && !step.optional) throw failureOf(result)
  return result
}

/**
 * Runs steps one after another; each sees `before` and the results of the steps before it. Resolves with `before` and
 * the new results.
 */
export async function runInOrder(
  definition: FlowDefinition,
  steps: readonly FlowStep[],
  context: ExecutorContext,
  before: readonly StepResult[] = [],
): Promise<readonly StepResult[]> {
  const results = [...before]
  for (const step of steps) {
    const visible = results.slice()
    const missing = missingFor(definition, step, visible)
    if (missing !== undefined) results.push(await context.skipStep(step, missing))
    // Thousands of flows may wait here at once, so this branch avoids the second suspended function of `runIfReady`.
    else if (step.condition === undefined) results.push(required(step, await context.runStep(step, { visible })))
    else results.push(await runIfReady(definition, step, context, { visible }))
  }
  return results
}

/**
 * Runs steps concurrently with the same options. The first failure of a step that is not optional aborts its siblings;
 * results that they have already returned are kept. Resolves with results in the order of `steps`.
 */
export async function runTogether(
  steps: readonly FlowStep[],
  context: ExecutorContext,
  options: RunStepOptions,
): Promise<readonly StepResult[]> {
  const [only] = steps
  if (only && steps.length === 1) return [required(only, await context.runStep(only, options))]
  const siblings = new CancellationToken()
  let failure: OrchestratorError | undefined
  const settled = await Promise.allSettled(
    steps.map(async (step) => {
      const result = await context.runStep(step, { ...options, cancellation: siblings })
      if (result.status === 'FAILED' && !step.optional && !failure) {
        failure = failureOf(result)
        siblings.cancel(failure)
      }
      return result
    }),
  )
  if (failure) throw failure
  return settled.map((outcome) => {
    if (outcome.status === 'rejected') throw outcome.reason
    return outcome.value
  })
}

export const lastSuccess = (results: readonly StepResult[]): StepResult | undefined =>
  results.findLast((result) => result.status === 'SUCCESS')

/** The result that gives the flow's output: the last of these steps, each of which runs once. */
export const lastOf = (steps: readonly FlowStep[]): readonly AnswerStep[] =>
  steps.slice(-1).map(({ id }) => ({ stepId: id, iteration: 1 }))

/** The text with which a person replaced what an approve step showed. */
export const editOf = (results: readonly StepResult[]): StepResult | undefined =>
  results.findLast(({ action, parsed }) => action === 'approve' && editSchema.safeParse(parsed).success)

const editSchema = z.object({ edit: z.string() })

export const succeeded = (result: StepResult | undefined): result is StepResult => result?.status === 'SUCCESS'
