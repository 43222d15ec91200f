import type { PoolDirectory } from '../../domain/definition/call/pools.ts'
import type { FlowDefinition, Target } from '../../domain/definition/flow-definition.ts'
import { isWaitingStep } from '../../domain/waiting/waiting-steps.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Findings, FlowFinding } from './flow-finding.ts'

/** Providers and pools that cannot be called: problems for steps, warnings for fallbacks. */
export function providerFindings(pools: Pick<PoolDirectory, 'assertUsable'>, { steps }: FlowDefinition): Findings {
  const problems: FlowFinding[] = []
  const warnings: FlowFinding[] = []
  steps.forEach((step, index) => {
    if (isWaitingStep(step)) return
    const problem = usability(pools, step, `steps[${index}].provider`)
    if (problem) problems.push(problem)
    step.fallbacks.forEach((fallback, position) => {
      const warning = usability(pools, fallback, `steps[${index}].fallbacks[${position}]`)
      if (warning) warnings.push(warning)
    })
  })
  return { problems, warnings }
}

function usability(pools: Pick<PoolDirectory, 'assertUsable'>, target: Target, path: string): FlowFinding | undefined {
  try {
    pools.assertUsable(target)
    return undefined
  } catch (error) {
    const { code, message, details } = OrchestratorError.from(error)
    return { code, path, message, details }
  }
}
