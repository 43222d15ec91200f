import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type DefinitionProblem, INPUT_WORDS } from './flow-definition.ts'
import { isInputWord, type LooseStep, type NamingField, namingFields, type SourceField } from './named-steps.ts'
import type { References } from './prompt-scope.ts'
import { findSuggestion, quoted } from './suggestion.ts'

export interface ReferenceRules {
  /** Whether prompts, conditions and `inputFrom` may name later steps and their own, because a loop returns to them. */
  readonly forwardReferences: boolean
  readonly shareStepOutputs: boolean
  /** Returns what a template or condition reads; throws FLOW_INVALID for bad syntax. */
  readonly template: (source: string) => References
  readonly condition: (source: string) => References
}

/**
 * Adds a problem for each duplicate or reserved id, each reference to an unknown or later step, and the first cycle.
 */
export function findReferenceProblems(steps: readonly LooseStep[], problems: DefinitionProblem[], rules: ReferenceRules): void {
  const indexes = indexIds(steps, problems)
  const waits: Set<string>[] = []
  for (const [index, step] of steps.entries()) {
    const isKnown = stepChecker(index, step, indexes, problems)
    const waitsFor = new Set<string>()
    waits.push(waitsFor)
    const read = (field: SourceField, source: string, path: string) =>
      readReferences(`steps[${index}].${path}`, source, field === 'condition' ? rules.condition : rules.template, problems)
    for (const { field, path, stepIds, references } of namingFields(step, read)) {
      // A loop returns to its steps, so only `dependsOn` makes one of them wait for another.
      const maybeForward = field !== 'dependsOn' && rules.forwardReferences
      for (const id of stepIds) {
        const named = isKnown(`steps[${index}].${path}`, id, maybeForward, field === 'inputFrom' ? INPUT_WORDS : [])
        if (named && !maybeForward) waitsFor.add(id)
      }
      if (references && isSentToProvider(field) && !rules.shareStepOutputs && usesOutputs(references)) {
        problems.push({
          path: `steps[${index}].${path}`,
          message: 'uses outputs of other steps, which contextPolicy.shareStepOutputs: false hides',
        })
      }
    }
  }
  findCycle(steps, waits, indexes, problems)
}

function indexIds(steps: readonly LooseStep[], problems: DefinitionProblem[]): Map<string, number> {
  const indexes = new Map<string, number>()
  for (const [index, { id }] of steps.entries()) {
    if (id === undefined) continue
    const first = indexes.get(id)
    if (first !== undefined)
      problems.push({
        path: `steps[${index}].id`,
        message: `expected a unique id, found ${quoted(id)}, which steps[${first}] already has`,
      })
    else indexes.set(id, index)
    if (isInputWord(id)) {
      problems.push({ path: `steps[${index}].id`, message: `expected a step id, found "${id}", which inputFrom reserves` })
    }
  }
  return indexes
}

function stepChecker(index: number, step: LooseStep, indexes: ReadonlyMap<string, number>, problems: DefinitionProblem[]) {
  return (path: string, id: string, forward: boolean, words: readonly string[] = []): boolean => {
    const target = indexes.get(id)
    if (target === undefined) {
      const suggestion = findSuggestion(
        id,
        [...indexes.keys(), ...words].filter((candidate) => candidate !== step.id),
      )
      problems.push({ path, message: `no step ${quoted(id)}`, ...(suggestion !== undefined && { suggestion }) })
      return false
    }
    if (forward || target < index) return true
    problems.push({
      path,
      message: target === index ? `step ${quoted(id)} names itself` : `step ${quoted(id)} comes later (steps[${target}])`,
    })
    return target !== index
  }
}

function readReferences(
  path: string,
  source: string,
  read: (source: string) => References,
  problems: DefinitionProblem[],
): References | undefined {
  try {
    return read(source)
  } catch (error) {
    const { message } = OrchestratorError.from(error)
    problems.push({ path, message })
    return undefined
  }
}

/** Conditions and approvals never leave this system. */
const isSentToProvider = (field: NamingField['field']): boolean =>
  field === 'prompt' || field === 'system' || field === 'arguments'

const usesOutputs = (references: References): boolean => references.allSteps || references.previous || references.steps.length > 0

/** Adds a problem that names one cycle of steps that wait for each other. */
function findCycle(
  steps: readonly LooseStep[],
  waits: readonly ReadonlySet<string>[],
  indexes: ReadonlyMap<string, number>,
  problems: DefinitionProblem[],
): void {
  const done = new Set<number>()
  const path: number[] = []
  // At most 500 steps bound the depth of this recursion.
  const visit = (index: number): boolean => {
    const start = path.indexOf(index)
    if (start !== -1) {
      const names = [...path.slice(start), index].map((at) => steps[at]?.id)
      problems.push({ path: `steps[${index}]`, message: `steps wait for each other: ${names.join(' → ').slice(0, 500)}` })
      return true
    }
    if (done.has(index)) return false
    path.push(index)
    for (const id of waits[index] ?? []) {
      const next = indexes.get(id)
      if (next !== undefined && visit(next)) return true
    }
    path.pop()
    done.add(index)
    return false
  }
  for (const index of steps.keys()) if (visit(index)) return
}
