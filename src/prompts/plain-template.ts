import type { PromptScope } from '../domain/prompt-scope.ts'

/** Reads one value of a scope; `undefined` where there is none. */
type ReadValue = (scope: PromptScope) => string | undefined

const PLAIN_VALUE = /\{\{\s*(original|input|previous|steps\.([A-Za-z][\w-]*)\.output)\s*\}\}/g

/**
 * The rendering of a template that is only text and plain values, without Liquid: most prompts are, and Liquid allocates some 7 kB for each.
 * `undefined` for every other template. The rendering gives `undefined` where a value is missing: Liquid then says what is wrong, and where.
 */
export function compilePlainTemplate(source: string): ((scope: PromptScope) => string | undefined) | undefined {
  const texts: string[] = []
  const values: ReadValue[] = []
  let end = 0
  for (const match of source.matchAll(PLAIN_VALUE)) {
    texts.push(source.slice(end, match.index))
    values.push(readerOf(match[1], match[2]))
    end = match.index + match[0].length
  }
  texts.push(source.slice(end))
  if (texts.some((text) => text.includes('{{') || text.includes('{%'))) return undefined
  return (scope) => {
    let prompt = texts[0] ?? ''
    for (const [index, read] of values.entries()) {
      const value = read(scope)
      if (value === undefined) return undefined
      prompt += value + texts[index + 1]
    }
    return prompt
  }
}

function readerOf(name: string | undefined, stepId: string | undefined): ReadValue {
  if (stepId !== undefined) return ({ steps }) => (Object.hasOwn(steps, stepId) ? steps[stepId]?.output : undefined)
  if (name === 'input') return ({ input }) => input
  return name === 'previous' ? ({ previous }) => previous : ({ original }) => original
}
