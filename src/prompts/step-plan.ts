import type { FlowDefinition, FlowStep } from '../domain/definition/flow-definition.ts'
import type { StepResult } from '../domain/execution/step-result.ts'
import { stepReferences } from './step-references.ts'

/** Which outputs one step reads, by step id, and whether it can do without them. */
export interface StepPlan {
  /** Steps that must have settled before this one starts, where the flow type schedules by dependencies. */
  readonly waitsFor: ReadonlySet<string>
  /** Steps without whose output it cannot run: named by `inputFrom`, or read by its prompt outside of every condition and default. */
  readonly needs: ReadonlySet<string>
  /** Those of `needs` that its prompt reads. In a loop the executor gives the input in place of `inputFrom`. */
  readonly reads: ReadonlySet<string>
  /** Steps of which at least one must have an output. Steps that its own condition reads are left out: the condition decides about them. */
  readonly inputs: ReadonlySet<string>
  /** Everything upstream: what it may see, where the flow type schedules by dependencies. */
  readonly ancestors: ReadonlySet<string>
}

/** What became of a step so far; `undefined`: it has not run. */
export type OutcomeOf = (stepId: string) => Pick<StepResult, 'status'> | undefined

const plans = new WeakMap<FlowDefinition, ReadonlyMap<string, StepPlan>>()

/**
 * The plan of every step of a definition, by step id; computed once per definition object. It decides scheduling, what runs after a branch that
 * was not taken, and what `checkFlow` says about it.
 */
export function stepPlans(definition: FlowDefinition): ReadonlyMap<string, StepPlan> {
  const known = plans.get(definition)
  if (known) return known
  const created = new Map<string, StepPlan>()
  for (const [index, step] of definition.steps.entries()) {
    created.set(step.id, createPlan(step, definition.steps.slice(0, index), created, isScheduled(definition)))
  }
  plans.set(definition, created)
  return created
}

/** Flow types whose steps start when what they name has settled; in all others the definition's order decides. */
const isScheduled = ({ type }: FlowDefinition): boolean => type === 'graph' || type === 'parallel'

function createPlan(
  step: FlowStep,
  prior: readonly FlowStep[],
  before: ReadonlyMap<string, StepPlan>,
  scheduled: boolean,
): StepPlan {
  const references = stepReferences(step)
  const { inputFrom, dependsOn = [] } = step
  const previous = prior.at(-1)?.id
  const reads = new Set<string>(references.needed)
  const needs = new Set<string>(reads)
  const inputs = new Set<string>([...references.steps, ...dependsOn])
  if (inputFrom === 'all') for (const { id } of prior) inputs.add(id)
  // In a sequence the previous output is that of the nearest step that has one, so no step in particular is needed.
  else if (inputFrom === 'previous' && scheduled && previous !== undefined) needs.add(previous)
  else if (inputFrom !== undefined && inputFrom !== 'previous' && inputFrom !== 'original') needs.add(inputFrom)
  for (const id of needs) inputs.add(id)
  const waitsFor = new Set<string>([...inputs, ...references.conditionSteps])
  const ancestors = new Set<string>(waitsFor)
  for (const id of waitsFor) for (const further of before.get(id)?.ancestors ?? []) ancestors.add(further)
  for (const id of references.conditionSteps) inputs.delete(id)
  return { waitsFor, needs, reads, inputs, ancestors }
}

/**
 * Why a step cannot run over what became of the steps before it, in words for its result: an output it needs is missing, or none of its inputs has
 * one. `undefined`: it runs with what there is. Steps that have not run at all say nothing. `isFed`: its input is given, whatever it names.
 */
export function missingInput({ needs, reads, inputs }: StepPlan, outcomeOf: OutcomeOf, isFed = false): string | undefined {
  if (inputs.size === 0) return undefined
  for (const id of isFed ? reads : needs) if (lacksOutput(outcomeOf(id))) return `step "${id}" gave no output`
  if (isFed) return undefined
  const settled = [...inputs].filter((id) => outcomeOf(id) !== undefined)
  if (settled.length === 0 || settled.some((id) => !lacksOutput(outcomeOf(id)))) return undefined
  const names = settled.map((id) => `"${id}"`).join(', ')
  return settled.length === 1 ? `step ${names} gave no output` : `none of the steps ${names} gave an output`
}

const lacksOutput = (outcome: ReturnType<OutcomeOf>): boolean => outcome !== undefined && outcome.status !== 'SUCCESS'

/**
 * Steps that may end without an output although no step fails: those with a condition, those that need one of these, and those all of whose inputs
 * are such steps.
 */
export function skippableSteps(definition: FlowDefinition): ReadonlySet<string> {
  const plans = stepPlans(definition)
  const skippable = new Set<string>()
  for (const { id, condition, otherwise } of definition.steps) {
    const { needs, inputs } = plans.get(id) ?? { needs: new Set<string>(), inputs: new Set<string>() }
    const needsOne = [...needs].some((needed) => skippable.has(needed))
    const hasNone = inputs.size > 0 && [...inputs].every((input) => skippable.has(input))
    if (condition !== undefined || otherwise || needsOne || hasNone) skippable.add(id)
  }
  return skippable
}

/** Whether the flow goes on after a step that fails and is not optional: the `parallel` block says so. */
export function goesOnAfterFailure({ parallel: { onFailure, minSuccesses } = {} }: FlowDefinition): boolean {
  return (onFailure ?? (minSuccesses === undefined ? 'fail' : 'continue')) === 'continue'
}
