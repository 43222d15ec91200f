import type { FlowDefinitionInput, FlowStep } from '../../domain/definition/flow-definition.ts'
import { type CheckFlowDeps, parseOrFindProblems } from './check-flow.ts'
import { callRanges, costRange, limitFindings } from './cost-range.ts'
import type { FlowFinding } from './flow-finding.ts'
import { joinFindings } from './join-findings.ts'
import { providerFindings } from './provider-findings.ts'
import { sharingFindings } from './sharing-findings.ts'

/**
 * The problems that keep a run from starting. Interfaces choose between these options and have no rules of their own.
 */
export interface PreflightOptions {
  /**
   * `all`: counts sharing that any step may need. `certain`: counts only sharing that is needed by steps that run in
   * every execution. A step with a condition, or one that may fail, is then decided when it runs.
   */
  readonly steps: 'all' | 'certain'
  /**
   * Whether to leave out problems of the definition itself, because storing the flow reports those that make it
   * invalid. Default false.
   */
  readonly ignoreDefinition?: boolean
  /**
   * Whether to skip comparing the cost with the definition's limits, for example because the run has limits of its own.
   * Saves counting tokens. Default false.
   */
  readonly ignoreLimits?: boolean
}

/**
 * Decides whether a run of a definition may start for a user. Resolves with the problems that would stop it half-way;
 * an empty list means that it may start. Interfaces call it once before a run. Never rejects for a bad definition: its
 * problems are findings.
 */
export type Preflight = (
  definition: FlowDefinitionInput,
  userId: string,
  options: PreflightOptions,
) => Promise<readonly FlowFinding[]>

/** Runs the checks of `checkFlow` that the options select, in the same order. */
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
