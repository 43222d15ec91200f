import * as z from 'zod'
import type { DefinitionProblem, FlowDefinition, FlowStep } from '../domain/definition/flow-definition.ts'
import type { StepResult } from '../domain/execution/step-result.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { mayLackInput, skippableSteps, stepPlanOf, unsureSteps } from '../prompts/step-plan.ts'
import type { Executor, ExecutorContext } from './executor.ts'
import { lastOf, lastSuccess, missingFor, runInOrder, runTogether } from './step-outcome.ts'

export const conditionalSettings = z.strictObject({
  /** `first`, the default: only the first branch that matches runs. `all`: each branch that matches runs. */
  match: z.enum(['first', 'all']).default('first'),
})

declare module '../domain/definition/flow-definition.ts' {
  interface FlowTypeSettings {
    conditional: z.input<typeof conditionalSettings>
  }
}

/**
 * Routes between branches. Consecutive steps with a `condition` or `otherwise` form one group. All its conditions are
 * evaluated before the first of its steps runs, so that the output of one branch cannot trigger the next.
 */
export const conditionalExecutor: Executor = {
  type: 'conditional',
  settings: conditionalSettings,
  check: checkGroups,
  calls: (definition) => {
    const skippable = skippableSteps(definition)
    return definition.steps.map(({ id }) => ({ stepId: id, min: skippable.has(id) ? 0 : 1, max: 1 }))
  },
  answers(definition) {
    const group = branchGroups(definition.steps).at(-1) ?? []
    if (!group.some(isBranch)) return lastOf(group)
    // Where several branches run, the output is that of the last one in the definition, even if another ends later.
    return definition.conditional?.match === 'all' ? [] : group.flatMap((step) => lastOf([step]))
  },
  nearest: nearestBranches,
  async run(definition, context) {
    const matchAll = definition.conditional?.match === 'all'
    let results: readonly StepResult[] = []
    for (const group of branchGroups(definition.steps)) {
      results = group.some(isBranch)
        ? [...results, ...(await runGroup(definition, group, context, results, matchAll))]
        : await runInOrder(definition, group, context, results)
    }
    return { final: lastSuccess(results) }
  },
}

async function runGroup(
  definition: FlowDefinition,
  group: readonly FlowStep[],
  context: ExecutorContext,
  before: readonly StepResult[],
  matchAll: boolean,
): Promise<readonly StepResult[]> {
  const chosen = new Set<FlowStep>()
  for (const step of group) {
    if (step.condition === undefined || (chosen.size > 0 && !matchAll)) continue
    if (await context.conditionHolds(step, before)) chosen.add(step)
  }
  const fallback = group.find((step) => step.otherwise)
  if (chosen.size === 0 && fallback) chosen.add(fallback)
  if (chosen.size === 0) {
    throw new OrchestratorError(
      'NO_BRANCH_MATCHED',
      `No branch of ${group.map((step) => `"${step.id}"`).join(', ')} matched and none has otherwise: true`,
      {
        details: { branches: group.map((step) => step.id) },
      },
    )
  }
  const skipped = new Map<FlowStep, StepResult>()
  for (const step of group) {
    const reason = chosen.has(step) ? missingFor(definition, step, before) : 'branch not chosen'
    if (reason === undefined) continue
    chosen.delete(step)
    skipped.set(step, await context.skipStep(step, reason))
  }
  const ran = await runTogether([...chosen], context, { visible: before })
  const byStep = new Map([...chosen].map((step, index) => [step, ran[index]]))
  return group.flatMap((step) => byStep.get(step) ?? skipped.get(step) ?? [])
}

const isBranch = (step: FlowStep): boolean => step.condition !== undefined || step.otherwise === true

function branchGroups(steps: readonly FlowStep[]): readonly (readonly FlowStep[])[] {
  const groups: FlowStep[][] = []
  for (const step of steps) {
    const last = groups.at(-1)
    if (isBranch(step) && last?.[0] && isBranch(last[0])) last.push(step)
    else groups.push([step])
  }
  return groups
}

function checkGroups(definition: FlowDefinition): readonly DefinitionProblem[] {
  return branchGroups(definition.steps).flatMap((group) => {
    const defaults = group.filter((step) => step.otherwise)
    const [, second] = defaults
    if (second) {
      return [
        {
          path: `steps[${definition.steps.indexOf(second)}].otherwise`,
          message: 'only one step of a branch group may be the default',
        },
      ]
    }
    const [only] = defaults
    if (only && group.length === 1) {
      return [
        {
          path: `steps[${definition.steps.indexOf(only)}].otherwise`,
          message: 'expected a neighbouring step with a condition, found none',
        },
      ]
    }
    return []
  })
}

/**
 * Branches of one group do not see each other. At least one of them runs, so if every branch has an output, later steps
 * do not see an output from before the group.
 */
function nearestBranches(definition: FlowDefinition): ReadonlyMap<string, readonly string[]> {
  const unsure = unsureSteps(definition)
  const isSureIfChosen = (step: FlowStep) => !step.optional && !mayLackInput(stepPlanOf(definition, step), unsure)
  const nearest = new Map<string, readonly string[]>()
  let before: readonly string[] = []
  for (const group of branchGroups(definition.steps)) {
    for (const { id } of group) nearest.set(id, before)
    const own = group.map(({ id }) => id).reverse()
    const isSure = group.every((step) => (isBranch(step) ? isSureIfChosen(step) : !unsure.has(step.id)))
    before = isSure ? own : [...own, ...before]
  }
  return nearest
}
