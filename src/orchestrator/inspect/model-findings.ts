import type { PoolDirectory } from '../../domain/definition/call/pools.ts'
import type { FlowDefinition } from '../../domain/definition/flow-definition.ts'
import { isWaitingStep } from '../../domain/waiting/waiting-steps.ts'
import type { ModelNames, NamedProvider } from '../../providers/provider.ts'
import type { FlowFinding } from './flow-finding.ts'

export interface ModelFindingsDeps {
  readonly modelNames: ModelNames
  /** Implemented by createPricingLookup. */
  readonly pricingOf: (provider: string) => NamedProvider
  readonly pools: PoolDirectory
}

/**
 * Warnings about models of steps and fallbacks that are unknown, mistyped or shut down. They do not stop the run,
 * because only the vendor knows its models for certain.
 */
export async function modelFindings(
  { modelNames, pricingOf, pools }: ModelFindingsDeps,
  { steps }: FlowDefinition,
): Promise<readonly FlowFinding[]> {
  const named = steps.flatMap((step, index) =>
    isWaitingStep(step)
      ? []
      : [
          ...pools.membersOf(step).map(({ provider, model }) => ({ path: `steps[${index}].model`, provider, model })),
          ...step.fallbacks.flatMap((fallback, position) =>
            pools.membersOf(fallback).map(({ provider, model }) => ({
              path: `steps[${index}].fallbacks[${position}]`,
              provider,
              model,
            })),
          ),
        ],
  )
  const findings: FlowFinding[] = []
  for (const { path, provider, model } of named) {
    const doubt = await modelNames.doubt(pricingOf(provider), model)
    if (!doubt) continue
    const { message, ...facts } = doubt
    findings.push({ code: 'PROVIDER_REJECTED', path, message, details: { provider, model, ...facts } })
  }
  return findings
}
