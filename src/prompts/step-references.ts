import type { FlowStep } from '../domain/definition/flow-definition.ts'
import { NO_REFERENCES, type References } from '../domain/definition/prompt-scope.ts'
import { compileCondition } from './conditions/condition.ts'
import { compileTemplate } from './template.ts'

/** What the strings of one step name. Functions name nothing that can be known before they run. */
export interface StepReferences extends References {
  /** Steps that its condition reads. */
  readonly conditionSteps: readonly string[]
}

const known = new WeakMap<FlowStep, StepReferences>()

/** Kept per step object, so that it costs nothing on every call. */
export function stepReferences(step: FlowStep): StepReferences {
  const cached = known.get(step)
  if (cached) return cached
  const references = { ...join(referencesOf(step.prompt), referencesOf(step.system)), conditionSteps: conditionSteps(step) }
  known.set(step, references)
  return references
}

function referencesOf(source: FlowStep['prompt']): References {
  if (source === 'original') return { ...NO_REFERENCES, original: true }
  return typeof source === 'string' ? compileTemplate(source).references : NO_REFERENCES
}

const conditionSteps = ({ condition }: FlowStep): readonly string[] =>
  typeof condition === 'string' ? compileCondition(condition).references.steps : []

const join = (a: References, b: References): References => ({
  steps: [...new Set([...a.steps, ...b.steps])],
  needed: [...new Set([...a.needed, ...b.needed])],
  allSteps: a.allSteps || b.allSteps,
  original: a.original || b.original,
  input: a.input || b.input,
  previous: a.previous || b.previous,
  history: a.history || b.history,
})
