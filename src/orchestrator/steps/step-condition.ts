import type { PromptScope, StepView } from '../../domain/definition/prompt-scope.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { FlowExecution } from '../flow-run.ts'

/** The scope of a condition. It holds all outputs, because a condition never leaves this process. */
export function conditionScope(run: FlowExecution, visible: readonly StepResult[], iteration: number): PromptScope {
  const steps: Record<string, StepView> = {}
  for (const { stepId, output, parsed, status, samples, sources } of visible) {
    steps[stepId] = { output, parsed, status, samples, ...(status === 'SUCCESS' && { sources: sources ?? [] }) }
  }
  const previous = visible.findLast((result) => result.status === 'SUCCESS')?.output
  return { original: run.input, input: previous ?? run.input, previous, steps, iteration, metadata: run.options.metadata }
}
