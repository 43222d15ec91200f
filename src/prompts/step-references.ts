import type { FlowStep } from '../domain/definition/flow-definition.ts'
import { type NamingField, namingFields } from '../domain/definition/named-steps.ts'
import { NO_REFERENCES, type References } from '../domain/definition/prompt-scope.ts'
import { isWaitingStep } from '../domain/waiting/waiting-steps.ts'
import { compileCondition } from './conditions/condition.ts'
import { compileTemplate } from './template.ts'

const known = new WeakMap<FlowStep, References>()

/**
 * The names that the prompt and the system prompt of a step read. Cached per step object, because each call needs them.
 */
export function stepReferences(step: FlowStep): References {
  const cached = known.get(step)
  if (cached) return cached
  const original = step.prompt === 'original' || step.system === 'original'
  const read = stepFields(step).flatMap(({ field, references }) => (references && field !== 'condition' ? [references] : []))
  // A step that waits passes its input on, unless it shows another text.
  const input = isWaitingStep(step) && step.approval?.show === undefined
  const references = read.reduce(join, { ...NO_REFERENCES, original, input })
  known.set(step, references)
  return references
}

/** The fields of a step of a parsed definition that name other steps. */
export const stepFields = (step: FlowStep): readonly NamingField[] => [
  ...namingFields(step, (field, source) =>
    field === 'condition' ? compileCondition(source).references : compileTemplate(source).references,
  ),
]

const join = (a: References, b: References): References => ({
  steps: [...new Set([...a.steps, ...b.steps])],
  needed: [...new Set([...a.needed, ...b.needed])],
  allSteps: a.allSteps || b.allSteps,
  original: a.original || b.original,
  input: a.input || b.input,
  previous: a.previous || b.previous,
  history: a.history || b.history,
  metadata: a.metadata || b.metadata,
  needsMetadata: a.needsMetadata || b.needsMetadata,
})
