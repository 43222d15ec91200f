import { INPUT_WORDS } from './flow-definition.ts'
import type { References } from './prompt-scope.ts'

/**
 * The fields of a step that may name other steps. Fields of the wrong shape are absent, so that one mistake does not
 * hide another.
 */
export interface LooseStep {
  readonly id?: string | undefined
  readonly inputFrom?: string | undefined
  readonly dependsOn?: readonly string[] | undefined
  readonly prompt?: unknown
  readonly system?: unknown
  readonly condition?: unknown
  readonly approval?: { readonly prompt?: unknown; readonly show?: unknown } | undefined
  readonly correlation?: unknown
  readonly arguments?: unknown
}

/** The fields that are templates or conditions, by their paths within the step. */
const SOURCE_FIELDS = ['prompt', 'system', 'condition', 'approval.prompt', 'approval.show', 'correlation'] as const
export type SourceField = (typeof SOURCE_FIELDS)[number] | 'arguments'

const sourceOf = (step: LooseStep, field: (typeof SOURCE_FIELDS)[number]): unknown => {
  if (field === 'approval.prompt') return step.approval?.prompt
  return field === 'approval.show' ? step.approval?.show : step[field]
}

/** One field of a step that names other steps. */
export interface NamingField {
  readonly field: 'dependsOn' | 'inputFrom' | SourceField
  /** Path within the step, e.g. `dependsOn[0]`. */
  readonly path: string
  readonly stepIds: readonly string[]
  /** For a template or a condition: everything that it reads. */
  readonly references?: References
}

/** Returns what a template or condition reads; `undefined` if its syntax is wrong. */
export type ReadReferences = (field: SourceField, source: string, path: string) => References | undefined

/**
 * Yields every field of a step that names other steps by their ids, in the order of the definition's documentation. The
 * parser checks these names and finds cycles among them, and the plan of a step is built on them. The steps that a
 * function reads are unknown until it runs.
 */
export function* namingFields(step: LooseStep, readReferences: ReadReferences): Generator<NamingField, void> {
  for (const [position, stepId] of (step.dependsOn ?? []).entries()) {
    yield { field: 'dependsOn', path: `dependsOn[${position}]`, stepIds: [stepId] }
  }
  const { inputFrom } = step
  if (inputFrom !== undefined && !isInputWord(inputFrom)) yield { field: 'inputFrom', path: 'inputFrom', stepIds: [inputFrom] }
  for (const field of SOURCE_FIELDS) {
    const source = sourceOf(step, field)
    if (typeof source !== 'string' || (field === 'prompt' && source === 'original')) continue
    const references = readReferences(field, source, field)
    if (references) yield { field, path: field, stepIds: references.steps, references }
  }
  if (step.arguments === undefined) return
  for (const { path, text } of textsIn(step.arguments, 'arguments')) {
    const references = readReferences('arguments', text, path)
    if (references) yield { field: 'arguments', path, stepIds: references.steps, references }
  }
}

/** Every text inside of a JSON value, with its path such as `arguments.items[0].name`. */
function* textsIn(value: unknown, path: string): Generator<{ readonly path: string; readonly text: string }, void> {
  if (typeof value === 'string') yield { path, text: value }
  else if (Array.isArray(value)) for (const [index, member] of value.entries()) yield* textsIn(member, `${path}[${index}]`)
  else if (typeof value === 'object' && value !== null)
    for (const [key, member] of Object.entries(value)) yield* textsIn(member, `${path}.${key}`)
}

/** Whether a value of `inputFrom` is one of the reserved words and not the id of a step. */
export const isInputWord = (inputFrom: string): boolean => INPUT_WORDS.some((word) => word === inputFrom)
