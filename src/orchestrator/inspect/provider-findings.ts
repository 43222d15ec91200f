import type { FlowDefinition } from '../../domain/definition/flow-definition.ts'
import { isWaitingStep } from '../../domain/waiting/waiting-steps.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ProviderService } from '../../providers/provider.ts'
import type { Findings, FlowFinding } from './flow-finding.ts'

export type ProviderUsability = Pick<ProviderService, 'assertUsable'>

/** Providers that cannot be called: problems for steps, warnings for fallbacks. */
export function providerFindings(providers: ProviderUsability, { steps }: FlowDefinition): Findings {
  const problems: FlowFinding[] = []
  const warnings: FlowFinding[] = []
  steps.forEach((step, index) => {
    if (isWaitingStep(step)) return
    const problem = usability(providers, step.provider, `steps[${index}].provider`)
    if (problem) problems.push(problem)
    step.fallbacks.forEach((fallback, position) => {
      const warning = usability(providers, fallback.provider, `steps[${index}].fallbacks[${position}]`)
      if (warning) warnings.push(warning)
    })
  })
  return { problems, warnings }
}

function usability(providers: ProviderUsability, id: string, path: string): FlowFinding | undefined {
  try {
    providers.assertUsable(id)
    return undefined
  } catch (error) {
    const { code, message, details } = OrchestratorError.from(error)
    return { code, path, message, details }
  }
}
