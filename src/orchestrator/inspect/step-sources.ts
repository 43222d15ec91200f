import type { FlowDefinition, FlowStep } from '../../domain/definition/flow-definition.ts'
import type { Executor } from '../../executors/executor.ts'
import { isScheduled, selectOutputs, stepPlanOf, unsureSteps, untilSure } from '../../prompts/step-plan.ts'

/** An output that a step reads in some run of the flow. */
export interface StepSource {
  /** The step that writes it. */
  readonly source: FlowStep
  /** The step cannot do without. */
  readonly isRequired: boolean
  /** Read only where a likelier step gives no output, as with the output before a step that may be skipped. */
  readonly isStandIn: boolean
}

/**
 * Every output that a step may read at run time, found by applying its plan to the steps that it may see. Outputs that
 * only a prompt function reads are missing, because they are known when it reads them.
 */
export function stepSources(
  definition: FlowDefinition,
  executor: Pick<Executor, 'implicitInputs' | 'nearest' | 'loop'>,
  step: FlowStep,
): readonly StepSource[] {
  const { steps } = definition
  const plan = stepPlanOf(definition, step)
  const visible = visibleSteps(definition, executor, step).map(({ id }) => ({ stepId: id }))
  const byId = (ids: readonly string[]) => visible.filter(({ stepId }) => ids.includes(stepId))
  const likeliest =
    executor.nearest?.(definition).get(step.id) ??
    untilSure(visible.map(({ stepId }) => stepId).reverse(), unsureSteps(definition))
  const nearest = byId(likeliest)
  const given = (executor.implicitInputs?.(definition) ?? []).flatMap(({ from, to }) => (to === step.id ? [from] : []))
  const { wanted } = selectOutputs(plan, visible, nearest, given.length > 0 ? byId(given) : undefined)
  const certain = selectOutputs(plan, visible, byId(likeliest.slice(0, 1)), given.length > 0 ? byId(given) : undefined)
  return [...wanted].flatMap(([output, isRequired]) => {
    const source = steps.find(({ id }) => id === output.stepId)
    const isStandIn = certain.wanted.get(output) !== isRequired
    return source === undefined || source === step ? [] : [{ source, isRequired, isStandIn }]
  })
}

/** Steps whose output a step may see, in definition order. */
function visibleSteps(definition: FlowDefinition, executor: Pick<Executor, 'loop'>, step: FlowStep): readonly FlowStep[] {
  const { steps } = definition
  if (isScheduled(definition)) {
    const { ancestors } = stepPlanOf(definition, step)
    return steps.filter(({ id }) => ancestors.has(id))
  }
  const loop = executor.loop?.(definition) ?? []
  const index = steps.indexOf(step)
  const inLoop = loop.includes(step.id)
  return steps.filter(({ id }, position) => position < index || (inLoop && loop.includes(id)))
}
