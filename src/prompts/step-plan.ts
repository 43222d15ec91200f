import type { FlowDefinition, FlowStep } from '../domain/definition/flow-definition.ts'
import { isInputWord } from '../domain/definition/named-steps.ts'
import type { StepResult } from '../domain/execution/step-result.ts'
import { isRunStep } from '../domain/tools/tool-fields.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { stepFields, stepReferences } from './step-references.ts'

/**
 * The outputs that one step reads, as its definition states them. Scheduling, prompts, `checkFlow`, the preflight and
 * reruns all use this plan; the parser finds cycles among the same names (`namingFields`).
 */
export interface StepPlan {
  /** Steps that must have settled before this one starts, for flow types that schedule by dependencies. */
  readonly waitsFor: ReadonlySet<string>
  /**
   * Steps whose output this one requires: `inputFrom` names them, or the prompt reads them outside of every condition
   * and default.
   */
  readonly needs: ReadonlySet<string>
  /** The part of `needs` that its prompt reads. In a loop the executor provides the input in place of `inputFrom`. */
  readonly reads: ReadonlySet<string>
  /**
   * Steps of which at least one must have an output. Steps that its own condition reads are left out: the condition
   * handles them.
   */
  readonly inputs: ReadonlySet<string>
  /** Every step upstream, which are the results that it may see, for flow types that schedule by dependencies. */
  readonly ancestors: ReadonlySet<string>
  /** The outputs that are its input: `{{ input }}`, or text appended to a prompt that mentions no output. */
  readonly input: InputRule
  /** Steps that its prompt names; conditions never leave this process and are not counted. */
  readonly names: ReadonlySet<string>
  /** Whether its prompt reads `steps` as a whole or by a computed key, so that any output may be meant. */
  readonly readsAll: boolean
  /** Whether its prompt reads `{{ previous }}`, the nearest output before it. */
  readonly readsNearest: boolean
  /** Whether its prompt is a function, which may read any output. Sharing is decided when the function reads one. */
  readonly offersAll: boolean
  /**
   * Whether outputs may be required. False with `contextPolicy.shareStepOutputs: false`: the step then runs without the
   * outputs that its author hides.
   */
  readonly mayRequire: boolean
}

export interface InputRule {
  /**
   * `named`: the step of `inputFrom`. `dependencies`: the steps of `dependsOn`. `nearest`: the latest output before the
   * step. `all`: every output before it. Input provided by the executor of a loop replaces all of them.
   */
  readonly from: 'none' | 'named' | 'dependencies' | 'nearest' | 'all'
  /** Ids for `named` and `dependencies`, else empty. */
  readonly stepIds: ReadonlySet<string>
  /** Whether the step fails if an output of its input may not be shared. */
  readonly required: boolean
}

/** The outcome of a step so far; `undefined` if it has not run. */
export type OutcomeOf = (stepId: string) => Pick<StepResult, 'status'> | undefined

const NO_STEPS: ReadonlySet<string> = new Set()

const plans = new WeakMap<FlowDefinition, ReadonlyMap<string, StepPlan>>()

/** The plan of every step of a parsed definition, by step id. Pure; computed once per definition object. */
export function stepPlans(definition: FlowDefinition): ReadonlyMap<string, StepPlan> {
  const known = plans.get(definition)
  if (known) return known
  const created = new Map<string, StepPlan>()
  for (const [index, step] of definition.steps.entries()) {
    created.set(step.id, createPlan(definition, step, definition.steps.slice(0, index), created))
  }
  plans.set(definition, created)
  return created
}

/** The plan of one step. Must be called with a step of the definition. */
export function stepPlanOf(definition: FlowDefinition, { id }: FlowStep): StepPlan {
  const plan = stepPlans(definition).get(id)
  if (!plan) throw new OrchestratorError('INTERNAL', `Expected step "${id}" in the definition, found none`)
  return plan
}

/** Flow types whose steps start when the steps they name have settled; in all others the definition's order decides. */
export const isScheduled = ({ type }: Pick<FlowDefinition, 'type'>): boolean => type === 'graph' || type === 'parallel'

function createPlan(
  definition: FlowDefinition,
  step: FlowStep,
  prior: readonly FlowStep[],
  before: ReadonlyMap<string, StepPlan>,
): StepPlan {
  const references = stepReferences(step)
  const conditionSteps = new Set<string>()
  const reads = new Set(references.needed)
  const needs = new Set(reads)
  const inputs = new Set<string>()
  for (const { field, stepIds } of stepFields(step)) {
    for (const id of stepIds) (field === 'condition' ? conditionSteps : field === 'inputFrom' ? needs : inputs).add(id)
  }
  const previous = prior.at(-1)?.id
  if (step.inputFrom === 'all') for (const { id } of prior) inputs.add(id)
  // In a sequence the previous output is that of the nearest step that has one, so no particular step is required.
  else if (step.inputFrom === 'previous' && isScheduled(definition) && previous !== undefined) needs.add(previous)
  for (const id of needs) inputs.add(id)
  const waitsFor = new Set([...inputs, ...conditionSteps])
  const ancestors = new Set(waitsFor)
  for (const id of waitsFor) for (const further of before.get(id)?.ancestors ?? []) ancestors.add(further)
  for (const id of conditionSteps) inputs.delete(id)
  return {
    waitsFor,
    needs,
    reads,
    inputs,
    ancestors,
    input: inputRule(definition, step),
    names: references.steps.length === 0 ? NO_STEPS : new Set(references.steps),
    readsAll: references.allSteps,
    readsNearest: references.previous,
    offersAll: typeof step.prompt === 'function' || typeof step.system === 'function',
    mayRequire: definition.contextPolicy.shareStepOutputs,
  }
}

function inputRule(definition: FlowDefinition, step: FlowStep): InputRule {
  const { inputFrom, dependsOn } = step
  const { input, previous } = stepReferences(step)
  // Nothing is appended to arguments, so a step without a prompt gets only the outputs that they read.
  if (isRunStep(step) && !input && !previous) return { from: 'none', stepIds: NO_STEPS, required: false }
  const required = definition.contextPolicy.shareStepOutputs && (inputFrom !== undefined || input || previous)
  if (inputFrom === 'original') return { from: 'none', stepIds: NO_STEPS, required: false }
  if (inputFrom === 'all') return { from: 'all', stepIds: NO_STEPS, required: false }
  if (inputFrom !== undefined && !isInputWord(inputFrom)) return { from: 'named', stepIds: new Set([inputFrom]), required }
  if (inputFrom === undefined && dependsOn) return { from: 'dependencies', stepIds: new Set(dependsOn), required }
  // In a graph no step comes before another by its position alone.
  if (isScheduled(definition) && inputFrom === undefined && !input && !previous) {
    return { from: 'none', stepIds: NO_STEPS, required: false }
  }
  return { from: 'nearest', stepIds: NO_STEPS, required }
}

/** The outputs that one step gets, out of those it may see. */
export interface SelectedOutputs<Output> {
  /** The outputs that are the step's input, in the order in which it sees them. */
  readonly inputs: readonly Output[]
  /** Every output that the step reads, each once, and whether the step requires it. */
  readonly wanted: ReadonlyMap<Output, boolean>
}

/**
 * Applies the plan of a step to the outputs that it may see. At run time these are results; before a run
 * `createStepSources` passes the steps that may write them, so that both agree. `nearest`: the latest visible output,
 * or all that may be the latest. `given`: the outputs that the executor of a loop provides as input.
 */
export function selectOutputs<Output extends { readonly stepId: string }>(
  plan: StepPlan,
  visible: readonly Output[],
  nearest: readonly Output[],
  given?: readonly Output[],
): SelectedOutputs<Output> {
  const inputs = given ?? inputsOf(plan.input, visible, nearest)
  const inputRequired = given === undefined ? plan.input.required : plan.mayRequire
  const wanted = new Map<Output, boolean>()
  for (const output of inputs) wanted.set(output, inputRequired)
  if (plan.readsNearest) for (const output of nearest) wanted.set(output, plan.mayRequire)
  for (const output of visible) if (plan.readsAll || plan.names.has(output.stepId)) wanted.set(output, plan.mayRequire)
  return { inputs, wanted }
}

function inputsOf<Output extends { readonly stepId: string }>(
  { from, stepIds }: InputRule,
  visible: readonly Output[],
  nearest: readonly Output[],
): readonly Output[] {
  if (from === 'none') return []
  if (from === 'all') return visible
  return from === 'nearest' ? nearest : visible.filter(({ stepId }) => stepIds.has(stepId))
}

/**
 * The reason why a step cannot run with the outcomes of the steps before it, as text for its result: an output that it
 * needs is missing, or none of its inputs has one. `undefined` if it can run. Steps that have not run are ignored.
 * `isGiven`: the executor provides its input, so only outputs that its prompt reads count.
 */
export function missingInput({ needs, reads, inputs }: StepPlan, outcomeOf: OutcomeOf, isGiven = false): string | undefined {
  if (inputs.size === 0) return undefined
  for (const id of isGiven ? reads : needs) if (lacksOutput(outcomeOf(id))) return `step "${id}" gave no output`
  if (isGiven) return undefined
  const settled = [...inputs].filter((id) => outcomeOf(id) !== undefined)
  if (settled.length === 0 || settled.some((id) => !lacksOutput(outcomeOf(id)))) return undefined
  const names = settled.map((id) => `"${id}"`).join(', ')
  return settled.length === 1 ? `step ${names} gave no output` : `none of the steps ${names} gave an output`
}

const lacksOutput = (outcome: ReturnType<OutcomeOf>): boolean => outcome !== undefined && outcome.status !== 'SUCCESS'

/**
 * Steps that may end without an output although no step fails: those with a condition, and those that lack their inputs
 * because of one.
 */
export const skippableSteps = (definition: FlowDefinition): ReadonlySet<string> =>
  stepsWithoutOutput(definition, ({ condition, otherwise }) => condition !== undefined || otherwise === true)

/**
 * Steps that may end without an output in a flow that still continues: skippable ones, and those whose failure does not
 * end the flow.
 */
export function unsureSteps(definition: FlowDefinition): ReadonlySet<string> {
  const toleratesFailure = isScheduled(definition) && continuesAfterFailure(definition)
  return stepsWithoutOutput(
    definition,
    ({ condition, otherwise, optional }) =>
      toleratesFailure || condition !== undefined || otherwise === true || optional === true,
  )
}

function stepsWithoutOutput(definition: FlowDefinition, isUnsure: (step: FlowStep) => boolean): ReadonlySet<string> {
  const plans = stepPlans(definition)
  const found = new Set<string>()
  for (const step of definition.steps) {
    const plan = plans.get(step.id)
    if (isUnsure(step) || (plan && mayLackInput(plan, found))) found.add(step.id)
  }
  return found
}

/** Whether a step may be skipped because the steps in `unsure` gave no output. */
export const mayLackInput = ({ needs, inputs }: StepPlan, unsure: ReadonlySet<string>): boolean =>
  hasSome(needs, unsure) || (inputs.size > 0 && !hasSome(inputs, unsure, false))

/**
 * Whether one of the ids is in a set, or with `inSet: false` outside of it. Copies nothing, because some plans have 500
 * ids.
 */
function hasSome(ids: ReadonlySet<string>, set: ReadonlySet<string>, inSet = true): boolean {
  for (const id of ids) if (set.has(id) === inSet) return true
  return false
}

/** The ids up to the first step that has an output in every run; all of them if none has. */
export function untilSure(ids: readonly string[], unsure: ReadonlySet<string>): readonly string[] {
  const sure = ids.findIndex((id) => !unsure.has(id))
  return sure === -1 ? ids : ids.slice(0, sure + 1)
}

/** Whether the flow continues after a step that fails and is not optional, as its `parallel` block states. */
export function continuesAfterFailure({ parallel: { onFailure, minSuccesses } = {} }: FlowDefinition): boolean {
  return (onFailure ?? (minSuccesses === undefined ? 'fail' : 'continue')) === 'continue'
}
