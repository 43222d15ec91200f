import type { FlowDefinition, FlowStep } from '../../domain/definition/flow-definition.ts'
import { continuesAfterFailure, type StepPlan, skippableSteps, stepPlans } from '../../prompts/step-plan.ts'
import type { FlowFinding } from './flow-finding.ts'

export interface JoinFindings {
  readonly problems: readonly FlowFinding[]
  readonly warnings: readonly FlowFinding[]
}

/**
 * Finds steps that need an output which may be missing. For a step that joins branches this is a problem, because it
 * would be skipped although another branch has run. A step that continues a single branch is skipped together with it,
 * which is a warning.
 */
export function joinFindings(definition: FlowDefinition): JoinFindings {
  const plans = stepPlans(definition)
  const skippable = skippableSteps(definition)
  const problems: FlowFinding[] = []
  const warnings: FlowFinding[] = []
  for (const [index, step] of definition.steps.entries()) {
    const plan = plans.get(step.id)
    if (!plan) continue
    const unsure = [...plan.needs].filter((id) => skippable.has(id) || mayFail(definition, id))
    if (unsure.length === 0) continue
    const branches = [...plan.inputs].filter((id) => skippable.has(id))
    const joined = unsure.find((id) => skippable.has(id) && branches.some((other) => areIndependent(plans, id, other)))
    if (joined !== undefined) problems.push(finding(step, index, plan, joined, branches))
    else warnings.push(finding(step, index, plan, unsure[0] ?? '', branches))
  }
  return { problems, warnings }
}

const mayFail = (definition: FlowDefinition, stepId: string): boolean =>
  continuesAfterFailure(definition) || definition.steps.find(({ id }) => id === stepId)?.optional === true

/** Whether neither of two steps is upstream of the other, so that one may run without the other. */
const areIndependent = (plans: ReadonlyMap<string, StepPlan>, one: string, other: string): boolean =>
  one !== other && !plans.get(one)?.ancestors.has(other) && !plans.get(other)?.ancestors.has(one)

function finding(
  { id: stepId, inputFrom }: FlowStep,
  index: number,
  { reads }: StepPlan,
  missing: string,
  branches: readonly string[],
): FlowFinding {
  const isRead = reads.has(missing)
  const path = `steps[${index}].${isRead || inputFrom === undefined ? 'prompt' : 'inputFrom'}`
  const remedy = isRead
    ? `write {% if steps.${missing}.output %}{{ steps.${missing}.output }}{% endif %} or {{ steps.${missing}.output | default: "" }}`
    : 'use dependsOn instead of inputFrom'
  const message = `step "${stepId}" requires the output of "${missing}" and is skipped if that step gives none; to run it with the available outputs, ${remedy}`
  return { code: 'FLOW_INVALID', path, message, details: { stepId, missing, branches } }
}
