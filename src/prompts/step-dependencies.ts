import type { FlowDefinition, FlowStep } from '../domain/flow-definition.ts'
import { stepReferences } from './step-references.ts'

/** What one step of a graph waits for, by step id. */
export interface StepDependencies {
  /** Everything it waits for directly. */
  readonly waitsFor: ReadonlySet<string>
  /** Those whose output it cannot do without: named by `inputFrom` or used in its prompt. */
  readonly needs: ReadonlySet<string>
  /** Those it only follows: `dependsOn`. */
  readonly follows: ReadonlySet<string>
  /** Everything upstream: what it may see. */
  readonly ancestors: ReadonlySet<string>
}

const known = new WeakMap<FlowDefinition, ReadonlyMap<string, StepDependencies>>()

/** Dependencies of every step of a definition whose steps refer only to earlier ones. Kept per definition object. */
export function stepDependencies(definition: FlowDefinition): ReadonlyMap<string, StepDependencies> {
  const cached = known.get(definition)
  if (cached) return cached
  const all = new Map<string, StepDependencies>()
  definition.steps.forEach((step, index) => {
    all.set(step.id, dependenciesOf(step, definition.steps.slice(0, index), all))
  })
  known.set(definition, all)
  return all
}

function dependenciesOf(
  step: FlowStep,
  earlier: readonly FlowStep[],
  before: ReadonlyMap<string, StepDependencies>,
): StepDependencies {
  const references = stepReferences(step)
  const needs = new Set<string>(references.steps)
  const waitsFor = new Set<string>([...needs, ...(step.dependsOn ?? []), ...references.conditionSteps])
  const previous = earlier.at(-1)?.id
  if (step.inputFrom === 'all') for (const candidate of earlier) waitsFor.add(candidate.id)
  else if (step.inputFrom === 'previous') {
    if (previous !== undefined) needs.add(previous)
  } else if (step.inputFrom !== undefined && step.inputFrom !== 'original') needs.add(step.inputFrom)
  for (const id of needs) waitsFor.add(id)
  const ancestors = new Set<string>()
  for (const id of waitsFor) {
    ancestors.add(id)
    for (const further of before.get(id)?.ancestors ?? []) ancestors.add(further)
  }
  return { waitsFor, needs, follows: new Set(step.dependsOn), ancestors }
}
