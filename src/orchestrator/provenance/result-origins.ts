import { hasCallerMetadata } from '../../domain/execution/request-instructions.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import { joinOrigins, toOrigin } from '../../domain/users/origins.ts'
import type { Origin } from '../../domain/users/sharing.ts'
import { ENGINE_PROVIDER } from '../../domain/waiting/waiting-steps.ts'
import type { ContextItem } from '../../policies/policy.ts'
import { stepReferences } from '../../prompts/step-references.ts'
import type { FlowExecution } from '../flow-run.ts'

type OriginsRun = Pick<FlowExecution, 'definition' | 'options' | 'prior'>

/** Everything that the text of a result was made from, its own writers left out. */
export const originsOf = (run: OriginsRun, result: StepResult): readonly Origin[] =>
  result.origins ?? recordedOrigins(run, result, new Set())

/** What the text of a result consists of for another text: its writers, and everything that it was made from. */
export const originsThrough = (run: OriginsRun, result: StepResult): readonly Origin[] =>
  joinOrigins([result.writers ? [] : [toOrigin('step_output', result.provider)], originsOf(run, result)])

/**
 * The writer of a result and what the result was made from, for the decision whether a provider may see it. A provider
 * has seen everything that its own text was made from.
 */
export function outputItem(run: OriginsRun, result: StepResult, target: string): Pick<ContextItem, 'from' | 'madeFrom'> {
  const from = writerOf(result, target, run.definition.contextPolicy.provenance === 'direct')
  const isWhollyOwn = from === target && result.writers === undefined
  return isWhollyOwn ? { from } : { from, madeFrom: originsOf(run, result) }
}

/**
 * The provider that wrote an output. If several providers wrote samples or parts of it, one other than the target, so
 * that the sharing rules apply. The conversation counts as a writer only where what a text was made from does not
 * count.
 */
export function writerOf({ provider, samples, attempts, writers }: StepResult, target: string, isDirect = false): string {
  // A text without any writer, such as the user's own, may go to every target.
  if (writers) return writers.find((writer) => writer !== target && (isDirect || writer !== ENGINE_PROVIDER)) ?? target
  const other = samples && attempts.find((attempt) => attempt.error === undefined && attempt.provider !== target)
  return other?.provider ?? provider
}

/**
 * The origins of a result that an earlier version recorded without them: what its sharing decisions allowed, through
 * all hops, and whatever else cannot be excluded.
 */
function recordedOrigins(run: OriginsRun, result: StepResult, seen: Set<StepResult>): readonly Origin[] {
  if (result.origins) return result.origins
  if (seen.has(result)) return []
  seen.add(result)
  const through = (other: StepResult) => [toOrigin('step_output', other.provider), ...recordedOrigins(run, other, seen)]
  const lists: (readonly Origin[])[] = []
  if (result.writers) {
    // The decisions about the texts that it shows were not recorded.
    const shown = result.writers.map((id) => (id === ENGINE_PROVIDER ? HISTORY : toOrigin('step_output', id)))
    lists.push(shown, ...run.prior.results.filter((other) => other.completedAt <= result.startedAt).map(through))
  }
  for (const { kind, from, piece, allowed } of result.sharing) {
    // Another sample may have gone to a provider that was allowed to see more.
    if (!allowed && !result.samples) continue
    lists.push([toOrigin(kind, from)])
    if (kind !== 'step_output') continue
    const stepId = piece.replace(/#\d+$/, '')
    lists.push(...run.prior.results.filter((other) => other.stepId === stepId).map(through))
  }
  const step = run.definition.steps.find(({ id }) => id === result.stepId)
  if (step) {
    const mayReadAll = typeof step.prompt === 'function' || typeof step.system === 'function'
    const mayReadMetadata = mayReadAll || stepReferences(step).metadata
    if (mayReadMetadata && hasCallerMetadata(run.options.metadata)) lists.push([toOrigin('metadata')])
    if (result.samples) lists.push([step, ...step.fallbacks].map(({ provider }) => toOrigin('step_output', provider)))
  }
  return joinOrigins(lists)
}

const HISTORY = toOrigin('conversation_history')
