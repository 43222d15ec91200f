import type { FlowDefinitionInput, FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'

/** A step of the model `scripted/m` whose prompt names it: `do <id>`. */
export const step = (id: string, more: Partial<FlowStepInput> = {}): FlowStepInput => ({
  id,
  model: 'scripted/m',
  action: 'generate',
  prompt: `do ${id}`,
  ...more,
})

/** A sequential flow of these steps. */
export const chain = (...steps: readonly FlowStepInput[]): FlowDefinitionInput => ({ name: 'chain', type: 'sequential', steps })

/** A scripted reply that fails for good, because retries do not help against a rejected request. */
export const rejected = (): OrchestratorError => new OrchestratorError('PROVIDER_REJECTED', 'no')

/** A reviewer's verdict without issues, which approves at a score of 1. */
export const verdict = (score: number) => ({ score, approved: score >= 1, issues: [], feedback: '' })

/** Resolves when the condition holds. There is no time limit: the timeout of the test ends a condition that never holds. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 1))
}
