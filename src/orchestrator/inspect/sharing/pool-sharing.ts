import { isPool, type PoolDirectory } from '../../../domain/definition/call/pools.ts'
import type { FlowDefinition, FlowStep, Target } from '../../../domain/definition/flow-definition.ts'
import type { FlowFinding } from '../flow-finding.ts'
import {
  type SharingFindings,
  type SharingFindingsDeps,
  type SharingFindingsOptions,
  type SharingNeed,
  sharingFindings,
} from './sharing-findings.ts'

export interface PoolSharingDeps extends SharingFindingsDeps {
  readonly pools: PoolDirectory
}

/** Definitions with more combinations of members are checked for some of them, which finds no problems for certain. */
const MAX_COMBINATIONS = 64

/**
 * Decides about sharing for every combination of members that may answer. What is denied in all of them is a need; what
 * is denied in some is a warning, because members that may not see something are passed over.
 */
export async function poolSharing(
  deps: PoolSharingDeps,
  definition: FlowDefinition,
  userId: string,
  options: SharingFindingsOptions = {},
): Promise<SharingFindings> {
  const hasPools = definition.steps.some((step) => [step, ...step.fallbacks].some(isPool))
  if (!hasPools) return sharingFindings(deps, definition, userId, options)
  const { combinations, isComplete } = combine(definition, deps.pools)
  const found: SharingFindings[] = []
  for (const steps of combinations) found.push(await sharingFindings(deps, { ...definition, steps }, userId, options))
  const countOf = (need: SharingNeed) =>
    found.filter(({ needs }) => needs.some((other) => keyOf(other.finding) === keyOf(need.finding))).length
  const all = found.flatMap(({ needs }) => needs)
  const isCertain = (need: SharingNeed) => isComplete && countOf(need) === found.length
  const warnings = [
    ...all.filter((need) => !isCertain(need)).map(({ finding }) => finding),
    ...found.flatMap((one) => one.warnings),
  ]
  return {
    needs: distinct(all.filter(isCertain), ({ finding }) => finding.message),
    warnings: distinct(warnings, ({ message }) => message),
  }
}

/** The steps with one member for each pool, in every combination as far as there are not too many. */
function combine({ steps }: FlowDefinition, pools: PoolDirectory) {
  const choices = steps.map((step): readonly FlowStep[] => {
    const fallbacks = step.fallbacks.flatMap((fallback) => pools.membersOf(fallback))
    if (!isPool(step)) return [{ ...step, fallbacks }]
    return pools.membersOf(step).map(({ provider, model }: Target) => ({ ...step, provider, model, fallbacks }))
  })
  const total = choices.reduce((product, { length }) => product * length, 1)
  const combinations = Array.from({ length: Math.min(total, MAX_COMBINATIONS) }, (_, index) => {
    let rest = index
    return choices.flatMap((members) => {
      const member = members[rest % members.length]
      rest = Math.floor(rest / members.length)
      return member ? [member] : []
    })
  })
  return { combinations, isComplete: total <= MAX_COMBINATIONS }
}

/** The step and the item that it needs, without the members that were combined. */
const keyOf = ({ details }: FlowFinding): string => JSON.stringify([details.stepId, details.kind, details.piece])

const distinct = <Item>(items: readonly Item[], nameOf: (item: Item) => string): readonly Item[] => [
  ...new Map(items.map((item) => [nameOf(item), item])).values(),
]
