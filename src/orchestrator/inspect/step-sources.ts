import type { FlowDefinition, FlowStep } from '../../domain/definition/flow-definition.ts'
import { isRunStep } from '../../domain/tools/tool-fields.ts'
import { isWaitingStep } from '../../domain/waiting/waiting-steps.ts'
import type { Executor } from '../../executors/executor.ts'
import { isScheduled, selectOutputs, stepPlanOf, unsureSteps, untilSure } from '../../prompts/step-plan.ts'

/** An output that a step reads in some run of the flow. */
export interface StepSource {
  /** The step that writes it. */
  readonly source: FlowStep
  /** Whether the step fails or is skipped without the output. */
  readonly isRequired: boolean
  /**
   * Whether the output is read only if a likelier step has none, such as the output before a step that may be skipped.
   */
  readonly isStandIn: boolean
}

/** The facts about a flow type that decide which outputs its steps see; each executor satisfies this interface. */
export type SourceRules = Pick<Executor, 'implicitInputs' | 'nearest' | 'loop'>

/**
 * Returns a function that finds every output which a step may read at run time, by applying its plan to the steps that
 * it may see. Outputs that only a prompt function reads are missing, because they are unknown until it runs.
 */
export function createStepSources(definition: FlowDefinition, executor: SourceRules): (step: FlowStep) => readonly StepSource[] {
  const outputs = new Map(definition.steps.map((source) => [source.id, { stepId: source.id, source }]))
  const visibleTo = createVisibleSteps(definition, executor)
  const nearest = executor.nearest?.(definition)
  const implicit = executor.implicitInputs?.(definition) ?? []
  const unsure = unsureSteps(definition)
  return (step) => {
    const plan = stepPlanOf(definition, step)
    const visible = visibleTo(step).flatMap(({ id }) => outputs.get(id) ?? [])
    const likeliest = nearest?.get(step.id) ?? untilSure(visible.map(({ stepId }) => stepId).reverse(), unsure)
    const given = new Set(implicit.flatMap(({ from, to }) => (to === step.id ? [from] : [])))
    const select = (latest: ReadonlySet<string>) =>
      selectOutputs(
        plan,
        visible,
        visible.filter(({ stepId }) => latest.has(stepId)),
        given.size > 0 ? visible.filter(({ stepId }) => given.has(stepId)) : undefined,
      ).wanted
    const usual = select(new Set(likeliest.slice(0, 1)))
    return [...select(new Set(likeliest))].flatMap(([output, isRequired]) =>
      output.source === step ? [] : [{ source: output.source, isRequired, isStandIn: usual.get(output) !== isRequired }],
    )
  }
}

/**
 * Returns a function that says whether a step gets the files of the prompt: a step that a model answers, and that runs
 * with no result before it or reads the prompt in place of results.
 */
export function createFileReaders(definition: FlowDefinition, executor: SourceRules): (step: FlowStep) => boolean {
  const nearest = executor.nearest?.(definition)
  const isFirst = (step: FlowStep): boolean =>
    isScheduled(definition)
      ? stepPlanOf(definition, step).ancestors.size === 0
      : definition.steps[0] === step || nearest?.get(step.id)?.length === 0
  return (step) => !isWaitingStep(step) && !isRunStep(step) && (step.inputFrom === 'original' || isFirst(step))
}

/** Returns a function that finds the steps whose output a step may see, in definition order. */
function createVisibleSteps(definition: FlowDefinition, executor: SourceRules): (step: FlowStep) => readonly FlowStep[] {
  const { steps } = definition
  const loop = new Set(executor.loop?.(definition))
  return (step) => {
    if (isScheduled(definition)) {
      const { ancestors } = stepPlanOf(definition, step)
      return steps.filter(({ id }) => ancestors.has(id))
    }
    const index = steps.indexOf(step)
    return steps.filter(({ id }, position) => position < index || (loop.has(step.id) && loop.has(id)))
  }
}
