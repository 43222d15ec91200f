import type { PoolDirectory } from '../../domain/definition/call/pools.ts'
import type { FlowDefinition, Target } from '../../domain/definition/flow-definition.ts'
import { isWaitingStep } from '../../domain/waiting/waiting-steps.ts'
import type { Findings, FlowFinding } from './flow-finding.ts'

/** Why a service that answers steps gets no calls now. */
export interface ServiceHindrance {
  readonly message: string
  /** Whether it will run without a command for this service. */
  readonly startsByItself: boolean
}

/** `undefined` for other providers, and for a service that runs. Implemented by createBackingServices. */
export type FindHindrance = (provider: string) => ServiceHindrance | undefined

export interface ServiceFindingsDeps {
  readonly hindranceOf: FindHindrance
  readonly pools: PoolDirectory
}

/**
 * Services that do not run: a problem for a step that nothing else can answer and whose services start only on a
 * command, otherwise warnings.
 */
export function serviceFindings({ hindranceOf, pools }: ServiceFindingsDeps, { steps }: FlowDefinition): Findings {
  const problems: FlowFinding[] = []
  const warnings: FlowFinding[] = []
  const hinderedOf = (target: Target, path: string) =>
    pools.membersOf(target).map((member) => {
      const hindrance = hindranceOf(member.provider)
      return hindrance && { hindrance, finding: toFinding(member, hindrance, path) }
    })
  steps.forEach((step, index) => {
    if (isWaitingStep(step)) return
    const own = hinderedOf(step, `steps[${index}].model`)
    const others = step.fallbacks.flatMap((fallback, position) => hinderedOf(fallback, `steps[${index}].fallbacks[${position}]`))
    const all = [...own, ...others]
    const isStuck = all.length > 0 && all.every((one) => one !== undefined && !one.hindrance.startsByItself)
    const findings = isStuck ? problems : warnings
    findings.push(...all.flatMap((one) => (one ? [one.finding] : [])))
  })
  return { problems, warnings }
}

const toFinding = ({ provider, model }: Target, { message }: ServiceHindrance, path: string): FlowFinding => ({
  code: 'SERVICE_NOT_RUNNING',
  path,
  message,
  details: { provider, model, service: provider },
})
