import type { PromptScope, References } from '../domain/definition/prompt-scope.ts'

/** Reads one value of a scope; `undefined` if it is missing. */
type ReadValue = (scope: PromptScope) => string | undefined

const PLAIN_VALUE = /\{\{\s*(original|input|previous|steps\.([A-Za-z][\w-]*)\.output)\s*\}\}/g

/** Templates with more values are left to Liquid, which has limits of its own. */
const MAX_VALUES = 100
const MAX_LENGTH = 100_000

export interface PlainTemplate {
  readonly references: References
  /** `undefined` if a value is missing: Liquid then renders the template and reports the error with its position. */
  render(scope: PromptScope): string | undefined
}

/**
 * Compiles a template of text and plain values without Liquid, which allocates some 7 kB for each rendering and adds
 * some 15 ms to the start of a process. Most prompts are such templates. `undefined` for every other template, valid or
 * not.
 */
export function compilePlainTemplate(source: string): PlainTemplate | undefined {
  if (source.length > MAX_LENGTH) return undefined
  const texts: string[] = []
  const names: PlainName[] = []
  let end = 0
  for (const match of source.matchAll(PLAIN_VALUE)) {
    texts.push(source.slice(end, match.index))
    names.push({ name: match[1] ?? '', stepId: match[2] })
    end = match.index + match[0].length
  }
  texts.push(source.slice(end))
  // Liquid counts a brace before a mark as part of it and then rejects the template.
  if (names.length > MAX_VALUES || texts.some((text) => /\{[{%]|\{$/.test(text))) return undefined
  const readers = names.map(readerOf)
  return {
    references: toReferences(names),
    render(scope) {
      let prompt = texts[0] ?? ''
      for (const [index, read] of readers.entries()) {
        const value = read(scope)
        if (value === undefined) return undefined
        prompt += value + texts[index + 1]
      }
      return prompt
    },
  }
}

type PlainName = { readonly name: string; readonly stepId: string | undefined }

function toReferences(names: readonly PlainName[]): References {
  const reads = (wanted: string) => names.some(({ name }) => name === wanted)
  const steps = [...new Set(names.flatMap(({ stepId }) => stepId ?? []))]
  return {
    steps,
    needed: steps,
    allSteps: false,
    original: reads('original'),
    input: reads('input'),
    previous: reads('previous'),
    history: false,
    metadata: false,
    needsMetadata: false,
  }
}

function readerOf({ name, stepId }: PlainName): ReadValue {
  if (stepId !== undefined) return ({ steps }) => (Object.hasOwn(steps, stepId) ? steps[stepId]?.output : undefined)
  if (name === 'input') return ({ input }) => input
  return name === 'previous' ? ({ previous }) => previous : ({ original }) => original
}
