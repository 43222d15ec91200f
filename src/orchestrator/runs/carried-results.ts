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
  /** The new run has another prompt. */
  readonly otherInput: boolean
  /** Ids of steps that have changed in the definition since the results were recorded. */
  readonly changedSteps: ReadonlySet<string>
}

/**
 * Results of an earlier run that a new run from step `from` would repeat unchanged: those of steps before it that see nothing of what is made anew.
 * Of a loop that is entered in its middle that is its first round, up to the step: later rounds worked on drafts of the old run.
 */
export function carriedResults(order: RerunPlan, results: readonly StepResult[]): readonly StepResult[] {
  const { definition, executor, from } = order
  const before = definition.steps.slice(0, from)
  const loop = executor.loop?.(definition) ?? []
  const kept = new Set(before.map(({ id }) => id))
  const entersLoop = loop.some((id) => kept.has(id)) && loop.some((id) => !kept.has(id))
  const anew = stepsMadeAnew(order, before, results)
  return results.filter(({ stepId, status, iteration }) => {
    if (status !== 'SUCCESS' || !kept.has(stepId) || anew.has(stepId)) return false
    return !(entersLoop && loop.includes(stepId)) || iteration === 1
  })
}

/** Steps before the first that runs again which would come out differently, or did not come out at all: they run again as well. */
function stepsMadeAnew(
  { definition, executor, otherInput, changedSteps }: RerunPlan,
  before: readonly FlowStep[],
  results: readonly StepResult[],
): ReadonlySet<string> {
  const plans = stepPlans(definition)
  const anew = new Set<string>()
  const prior: string[] = []
  for (const step of before) {
    const own = results.filter(({ stepId }) => stepId === step.id)
    const seen = executor.noImplicitPredecessor ? [...(plans.get(step.id)?.ancestors ?? [])] : prior
    const cameOut = own.some(({ status }) => status === 'SUCCESS' || status === 'SKIPPED')
    const isChanged = changedSteps.has(step.id) || (otherInput && seesInput(definition, step))
    const isOutdated = !executor.loop && seen.some((id) => wasRepeatedAfter(id, own, results))
    if (!cameOut || isChanged || isOutdated || seen.some((id) => anew.has(id))) anew.add(step.id)
    prior.push(step.id)
  }
  return anew
}

/** Whether a step was run once more, by itself, after another had used its output. */
function wasRepeatedAfter(stepId: string, users: readonly StepResult[], results: readonly StepResult[]): boolean {
  const latest = results.findLast((result) => result.stepId === stepId && result.status === 'SUCCESS')
  const user = users.findLast(({ status }) => status === 'SUCCESS')
  return latest !== undefined && user !== undefined && latest.iteration > 1 && latest.completedAt > user.startedAt
}

/** Prompts and conditions that are code may read whatever there is; every other prompt gets the request unless the policy says otherwise. */
function seesInput({ contextPolicy }: FlowDefinition, step: FlowStep): boolean {
  const { prompt, system, condition } = step
  if (contextPolicy.includeOriginalPrompt || prompt === undefined) return true
  if ([prompt, system, condition].some((source) => typeof source === 'function')) return true
  const { original, input, history } = stepReferences(step)
  return original || input || history || condition !== undefined
}
