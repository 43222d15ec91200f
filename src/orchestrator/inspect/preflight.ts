import type { FlowDefinitionInput, FlowStep } from '../../domain/definition/flow-definition.ts'
import { type CheckFlowDeps, parseOrFindHidden } from './check-flow.ts'
import { callRanges, costRange, limitFindings } from './cost-range.ts'
import type { FlowFinding } from './flow-finding.ts'
import { joinFindings } from './join-findings.ts'
import { operationFindings } from './operation-findings.ts'
import { providerFindings } from './provider-findings.ts'
import { fileFindings } from './sharing/file-findings.ts'
import { poolSharing } from './sharing/pool-sharing.ts'
import { toolFindings } from './tool-findings.ts'

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
  /**
   * Whether the run gets files. Everybody who may receive them must then be allowed to see them, whatever `steps` is:
   * steps of whose condition nothing is known, fallbacks, members of pools and tools included. Default false.
   */
  readonly files?: boolean
  /** As for checkFlow. Default false. */
  readonly overNetwork?: boolean
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
  return async (input, userId, { steps, ignoreDefinition = false, ignoreLimits = false, files = false, overNetwork = false }) => {
    const parsed = await parseOrFindHidden(deps, input, overNetwork)
    if ('problems' in parsed) return ignoreDefinition ? [] : parsed.problems
    const { definition } = parsed
    const { needs } = await poolSharing(deps, definition, userId, { hasFiles: files })
    const counted = steps === 'all' ? needs : needs.filter(({ step, isStandIn }) => !isStandIn && isCertain(step))
    const cost = ignoreLimits ? undefined : await costRange(deps, definition, callRanges(deps.executors, definition))
    return [
      ...(ignoreDefinition ? [] : joinFindings(definition).problems),
      ...providerFindings(deps.pools, definition).problems,
      ...(await toolFindings(deps, definition, userId)).problems,
      ...(await operationFindings(deps, definition)).problems,
      ...(files ? await fileFindings(deps, definition, userId) : []),
      ...counted.map(({ finding }) => finding),
      ...(cost ? limitFindings(definition, cost).problems : []),
    ]
  }
}

const isCertain = ({ condition, otherwise, optional }: FlowStep): boolean => !condition && !otherwise && !optional
