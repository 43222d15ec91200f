import type { FlowDefinition, FlowStep } from '../domain/flow-definition.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'

/** The step of a flow with its place in the definition; throws STEP_NOT_FOUND. */
export function getStep(
  flowId: string,
  { name, steps }: FlowDefinition,
  stepId: string,
): { readonly step: FlowStep; readonly index: number } {
  const index = steps.findIndex((step) => step.id === stepId)
  const step = steps[index]
  if (step) return { step, index }
  const known = steps.map(({ id }) => `"${id}"`).join(', ')
  throw new OrchestratorError('STEP_NOT_FOUND', `Flow "${name}" has no step "${stepId}"; it has ${known}`, {
    details: { flowId, stepId },
  })
}
