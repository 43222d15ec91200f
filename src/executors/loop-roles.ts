import type { DefinitionProblem, FlowDefinition, FlowStep } from '../domain/definition/flow-definition.ts'
import { definitionError } from '../domain/definition/problems.ts'
import type { StepAction } from '../domain/vocabulary.ts'
import { skippableSteps, unsureSteps, untilSure } from '../prompts/step-plan.ts'

/**
 * The roles of steps in a loop. `before` and `after` run once; the reviewers evaluate each draft, and `refine` improves
 * it.
 */
export interface LoopRoles {
  readonly before: readonly FlowStep[]
  readonly draft: FlowStep
  readonly reviewers: readonly FlowStep[]
  readonly refine: FlowStep
  readonly after: readonly FlowStep[]
}

/**
 * Finds the roles by action and order: the first `generate` step is the draft, the last `refine` step refines it, and
 * all steps between them must have one of the review actions. Returns problems where a role is missing.
 */
export function loopRoles(
  definition: FlowDefinition,
  reviewActions: readonly StepAction[],
): LoopRoles | readonly DefinitionProblem[] {
  const { steps, type } = definition
  const draftIndex = steps.findIndex((step) => step.action === 'generate')
  const refineIndex = steps.findLastIndex((step) => step.action === 'refine')
  const draft = steps[draftIndex]
  const refine = steps[refineIndex]
  const expected = `expected for type "${type}": a generate step, ${reviewActions.join(' or ')} steps, a refine step`
  if (!draft) return [{ path: 'steps', message: `${expected}; found no step with action "generate"` }]
  if (!refine || refineIndex < draftIndex) {
    return [{ path: 'steps', message: `${expected}; found no step with action "refine" after "${draft.id}"` }]
  }
  const between = steps.slice(draftIndex + 1, refineIndex)
  if (between.length === 0)
    return [{ path: `steps[${refineIndex}]`, message: `${expected}; found nothing between "${draft.id}" and "${refine.id}"` }]
  const misplaced = between.filter((step) => !reviewActions.includes(step.action))
  if (misplaced.length > 0) {
    return misplaced.map((step) => ({
      path: `steps[${steps.indexOf(step)}].action`,
      message: `${expected}; found "${step.action}" between draft and refine`,
    }))
  }
  return { before: steps.slice(0, draftIndex), draft, reviewers: between, refine, after: steps.slice(refineIndex + 1) }
}

export const isRoles = (roles: LoopRoles | readonly DefinitionProblem[]): roles is LoopRoles => 'draft' in roles

/** The roles of a definition that has passed the check. Throws FLOW_INVALID with `details.problems` for any other. */
export function getLoopRoles(definition: FlowDefinition, reviewActions: readonly StepAction[]): LoopRoles {
  const roles = loopRoles(definition, reviewActions)
  if (isRoles(roles)) return roles
  throw definitionError(roles)
}

/**
 * Steps that may never be called in a loop in which no step fails. Reviewers are among them where the draft may be
 * skipped.
 */
export function idleSteps(definition: FlowDefinition, { reviewers, draft, refine }: LoopRoles): ReadonlySet<FlowStep> {
  const skippable = skippableSteps(definition)
  const idle = definition.steps.filter(({ id }) => skippable.has(id))
  return new Set([...idle, refine, ...(skippable.has(draft.id) ? reviewers : [])])
}

/** The outputs that the loop itself passes on: drafts and refinements to the reviewers, drafts to the refining step. */
export const loopInputs = ({
  draft,
  reviewers,
  refine,
}: LoopRoles): readonly { readonly from: string; readonly to: string }[] => [
  ...[...reviewers, refine].map((step) => ({ from: draft.id, to: step.id })),
  ...reviewers.map((step) => ({ from: refine.id, to: step.id })),
]

/** The steps that run once per round. */
export const loopSteps = ({ reviewers, refine }: LoopRoles): readonly string[] => [...reviewers, refine].map(({ id }) => id)

/**
 * For each step of the loop and after it, the steps that may have written the latest output it sees. `reviewsAreSeen`:
 * steps after the loop also see the reviews, which are the latest output where the loop ended with them.
 */
export function loopNearest(
  definition: FlowDefinition,
  { before, draft, reviewers, refine, after }: LoopRoles,
  { reviewsAreSeen }: { readonly reviewsAreSeen: boolean },
): ReadonlyMap<string, readonly string[]> {
  const unsure = unsureSteps(definition)
  const ids = (steps: readonly FlowStep[]) => steps.map(({ id }) => id).reverse()
  const reviews = untilSure([...ids(reviewers), draft.id], unsure)
  const nearest = new Map<string, readonly string[]>([[refine.id, reviews]])
  for (const { id } of reviewers) nearest.set(id, [refine.id, draft.id])
  const fromLoop = reviewsAreSeen ? reviews : [draft.id]
  // Without a draft the loop does not run at all.
  let latest = [refine.id, ...fromLoop, ...(unsure.has(draft.id) ? untilSure(ids(before), unsure) : [])]
  for (const { id } of after) {
    nearest.set(id, latest)
    latest = unsure.has(id) ? [id, ...latest] : [id]
  }
  return nearest
}
