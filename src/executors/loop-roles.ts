import type { DefinitionProblem, FlowDefinition, FlowStep } from '../domain/definition/flow-definition.ts'
import { definitionError } from '../domain/definition/problems.ts'
import type { StepAction } from '../domain/vocabulary.ts'
import { skippableSteps, unsureSteps, untilSure } from '../prompts/step-plan.ts'

/** The parts that steps play in a loop: what comes before the draft, the draft, those who judge it, who mends it, what comes after. */
export interface LoopRoles {
  readonly before: readonly FlowStep[]
  readonly draft: FlowStep
  readonly judges: readonly FlowStep[]
  readonly refine: FlowStep
  readonly after: readonly FlowStep[]
}

/** Roles by action and order: the first `generate` is the draft, all judging steps after it judge, the `refine` step behind them mends. */
export function loopRoles(definition: FlowDefinition, judging: readonly StepAction[]): LoopRoles | readonly DefinitionProblem[] {
  const { steps, type } = definition
  const draftIndex = steps.findIndex((step) => step.action === 'generate')
  const refineIndex = steps.findLastIndex((step) => step.action === 'refine')
  const draft = steps[draftIndex]
  const refine = steps[refineIndex]
  const expected = `expected for type "${type}": a generate step, ${judging.join(' or ')} steps, a refine step`
  if (!draft) return [{ path: 'steps', message: `${expected}; found no step with action "generate"` }]
  if (!refine || refineIndex < draftIndex) {
    return [{ path: 'steps', message: `${expected}; found no step with action "refine" after "${draft.id}"` }]
  }
  const between = steps.slice(draftIndex + 1, refineIndex)
  if (between.length === 0)
    return [{ path: `steps[${refineIndex}]`, message: `${expected}; found nothing between "${draft.id}" and "${refine.id}"` }]
  const strangers = between.filter((step) => !judging.includes(step.action))
  if (strangers.length > 0) {
    return strangers.map((step) => ({
      path: `steps[${steps.indexOf(step)}].action`,
      message: `${expected}; found "${step.action}" between draft and refine`,
    }))
  }
  return { before: steps.slice(0, draftIndex), draft, judges: between, refine, after: steps.slice(refineIndex + 1) }
}

export const isRoles = (roles: LoopRoles | readonly DefinitionProblem[]): roles is LoopRoles => 'draft' in roles

/** The roles of a definition that was checked for them. Throws FLOW_INVALID with `details.problems` for one that was not. */
export function getLoopRoles(definition: FlowDefinition, judging: readonly StepAction[]): LoopRoles {
  const roles = loopRoles(definition, judging)
  if (isRoles(roles)) return roles
  throw definitionError(roles)
}

/** Steps that may not be called at all in a loop in which nothing fails: judges have nothing to judge where the draft may be left out. */
export function idleSteps(definition: FlowDefinition, { judges, draft, refine }: LoopRoles): ReadonlySet<FlowStep> {
  const skippable = skippableSteps(definition)
  const idle = definition.steps.filter(({ id }) => skippable.has(id))
  return new Set([...idle, refine, ...(skippable.has(draft.id) ? judges : [])])
}

/** Drafts go to those who judge and to the one who mends. */
export const loopInputs = ({ draft, judges, refine }: LoopRoles): readonly { readonly from: string; readonly to: string }[] => [
  ...[...judges, refine].map((step) => ({ from: draft.id, to: step.id })),
  ...judges.map((step) => ({ from: refine.id, to: step.id })),
]

/** The steps that run once per round. */
export const loopSteps = ({ judges, refine }: LoopRoles): readonly string[] => [...judges, refine].map(({ id }) => id)

/**
 * Per step of the loop and after it, the steps that may have written the latest output it sees. `reviewsAreSeen`: steps after the loop see the
 * reviews too, which stand last where the loop ended with them.
 */
export function loopNearest(
  definition: FlowDefinition,
  { before, draft, judges, refine, after }: LoopRoles,
  { reviewsAreSeen }: { readonly reviewsAreSeen: boolean },
): ReadonlyMap<string, readonly string[]> {
  const unsure = unsureSteps(definition)
  const ids = (steps: readonly FlowStep[]) => steps.map(({ id }) => id).reverse()
  const reviews = untilSure([...ids(judges), draft.id], unsure)
  const nearest = new Map<string, readonly string[]>([[refine.id, reviews]])
  for (const { id } of judges) nearest.set(id, [refine.id, draft.id])
  const fromLoop = reviewsAreSeen ? reviews : [draft.id]
  // Without a draft the loop does not run at all.
  let latest = [refine.id, ...fromLoop, ...(unsure.has(draft.id) ? untilSure(ids(before), unsure) : [])]
  for (const { id } of after) {
    nearest.set(id, latest)
    latest = unsure.has(id) ? [id, ...latest] : [id]
  }
  return nearest
}
