import type { FlowDefinition, FlowStep } from '../../domain/definition/flow-definition.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { Executor } from '../../executors/executor.ts'
import { stepPlans } from '../../prompts/step-plan.ts'
import { stepReferences } from '../../prompts/step-references.ts'

export interface RerunPlan {
  readonly definition: FlowDefinition
  readonly executor: Pick<Executor, 'noImplicitPredecessor' | 'loop'>
  /** Index of the first step that is to run again. */
  readonly from: number
  /** Whether the new flow has another prompt. */
  readonly otherInput: boolean
  /** Ids of steps that have changed in the definition since the results were recorded. */
  readonly changedSteps: ReadonlySet<string>
}

/**
 * Results of an earlier flow that a rerun from step `from` would reproduce unchanged: those of earlier steps that read
 * nothing new. If `from` lies inside a loop, only results of the first iteration are carried, because later iterations
 * worked on drafts of the old flow.
 */
export function carriedResults(plan: RerunPlan, results: readonly StepResult[]): readonly StepResult[] {
  const { definition, executor, from } = plan
  const before = definition.steps.slice(0, from)
  const loop = executor.loop?.(definition) ?? []
  const kept = new Set(before.map(({ id }) => id))
  const entersLoop = loop.some((id) => kept.has(id)) && loop.some((id) => !kept.has(id))
  const repeated = stepsToRepeat(plan, before, results)
  return results.filter(({ stepId, status, iteration }) => {
    if (status !== 'SUCCESS' || !kept.has(stepId) || repeated.has(stepId)) return false
    return !(entersLoop && loop.includes(stepId)) || iteration === 1
  })
}

/** Steps before `from` that also run again, because they have no usable result or would now produce another one. */
function stepsToRepeat(
  { definition, executor, otherInput, changedSteps }: RerunPlan,
  candidates: readonly FlowStep[],
  results: readonly StepResult[],
): ReadonlySet<string> {
  const plans = stepPlans(definition)
  const repeated = new Set<string>()
  const before: string[] = []
  for (const step of candidates) {
    const own = results.filter(({ stepId }) => stepId === step.id)
    const seen = executor.noImplicitPredecessor ? [...(plans.get(step.id)?.ancestors ?? [])] : before
    const hasResult = own.some(({ status }) => status === 'SUCCESS' || status === 'SKIPPED')
    const isChanged = changedSteps.has(step.id) || (otherInput && seesInput(definition, step))
    const isOutdated = !executor.loop && seen.some((id) => wasRepeatedAfter(id, own, results))
    if (!hasResult || isChanged || isOutdated || seen.some((id) => repeated.has(id))) repeated.add(step.id)
    before.push(step.id)
  }
  return repeated
}

/** Whether executeStep repeated a step after another step had used its output. */
function wasRepeatedAfter(stepId: string, users: readonly StepResult[], results: readonly StepResult[]): boolean {
  const latest = results.findLast((result) => result.stepId === stepId && result.status === 'SUCCESS')
  const user = users.findLast(({ status }) => status === 'SUCCESS')
  return latest !== undefined && user !== undefined && latest.iteration > 1 && latest.completedAt > user.startedAt
}

/**
 * A function may read everything. Any other prompt receives the user's prompt unless the context policy excludes it.
 */
function seesInput({ contextPolicy }: FlowDefinition, step: FlowStep): boolean {
  const { prompt, system, condition } = step
  if (contextPolicy.includeOriginalPrompt || prompt === undefined) return true
  if ([prompt, system, condition].some((source) => typeof source === 'function')) return true
  const { original, input, history } = stepReferences(step)
  return original || input || history || condition !== undefined
}
