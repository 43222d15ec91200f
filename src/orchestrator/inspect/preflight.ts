import type { FlowDefinitionInput, FlowStep } from '../../domain/definition/flow-definition.ts'
import { type CheckFlowDeps, parseOrFindProblems } from './check-flow.ts'
import { callRanges, costRange, limitFindings } from './cost-range.ts'
import type { FlowFinding } from './flow-finding.ts'
import { joinFindings } from './join-findings.ts'
import { providerFindings } from './provider-findings.ts'
import { sharingFindings } from './sharing-findings.ts'

/** Which problems keep a run from starting. Every interface chooses its options here and has no rule of its own. */
export interface PreflightOptions {
  /**
   * `all`: sharing that any step may need counts. `certain`: only sharing that steps need which run in every execution;
   * a step with a condition, or one that may fail, is decided about when it runs.
   */
  readonly steps: 'all' | 'certain'
  /**
   * Does not count problems of the definition itself: storing the flow reports those that make it invalid. Default
   * false.
   */
  readonly ignoreDefinition?: boolean
  /**
   * Does not compare the cost with the definition's limits, as where others are given for the run. Saves counting
   * tokens. Default false.
   */
  readonly ignoreLimits?: boolean
}

/**
 * Whether a run of a definition may start for a user: resolves with every problem that would stop it half-way, none
 * where it may start. Called by interfaces before the first call that costs money. Never rejects for a bad definition.
 */
export type Preflight = (
  definition: FlowDefinitionInput,
  userId: string,
  options: PreflightOptions,
) => Promise<readonly FlowFinding[]>

/** The same checks as those of `checkFlow`, in the same order, and only those that the options ask for. */
export function createPreflight(deps: Omit<CheckFlowDeps, 'modelNames'>): Preflight {
  return async (input, userId, { steps, ignoreDefinition = false, ignoreLimits = false }) => {
    const parsed = parseOrFindProblems(deps.parser, input)
    if ('problems' in parsed) return ignoreDefinition ? [] : parsed.problems
    const { definition } = parsed
    const { needs } = await sharingFindings(deps, definition, userId)
    const counted = steps === 'all' ? needs : needs.filter(({ step, isStandIn }) => !isStandIn && isCertain(step))
    const cost = ignoreLimits ? undefined : await costRange(deps, definition, callRanges(deps.executors, definition))
    return [
      ...(ignoreDefinition ? [] : joinFindings(definition).problems),
      ...providerFindings(deps.providers, definition).problems,
      ...counted.map(({ finding }) => finding),
      ...(cost ? limitFindings(definition, cost).problems : []),
    ]
  }
}

const isCertain = ({ condition, otherwise, optional }: FlowStep): boolean => !condition && !otherwise && !optional
