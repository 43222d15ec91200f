import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { PromptScope } from '../../src/domain/definition/prompt-scope.ts'
import { createLiquid } from '../../src/prompts/liquid.ts'
import { compilePlainTemplate } from '../../src/prompts/plain-template.ts'
import { compileTemplate } from '../../src/prompts/template.ts'

const scope: PromptScope = {
  original: 'the question {{ original }}',
  input: 'the input',
  previous: 'before',
  steps: { draft: { output: 'a draft', status: 'SUCCESS' }, 'my-step': { output: '{% if %}', status: 'SUCCESS' } },
  iteration: 2,
  metadata: {},
}

const engine = createLiquid()
/** Undefined for what Liquid refuses, which is never rendered at all. */
const parsed = (source: string) => {
  try {
    return engine.parse(source)
  } catch {
    return undefined
  }
}

/** Its limit is one of time, which says nothing of a text while another process has the core. */
test('a plain template renders like Liquid, whatever text and values are next to each other', () => {
  const piece = fc.oneof(
    fc.string(),
    fc.constantFrom(
      '{{ original }}',
      '{{input}}',
      '{{  previous }}',
      '{{ steps.draft.output }}',
      '{{ steps.my-step.output }}',
      '\n',
      ' }} ',
    ),
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const source = pieces.join('')
      const plain = compilePlainTemplate(source)
      if (!plain || !source.includes('{{')) return
      const nodes = parsed(source)
      expect(nodes, 'Liquid refuses what was taken for plain').toBeDefined()
      if (nodes) expect(plain.render(scope)).toBe(engine.render(nodes, { ...scope }))
    }),
    { numRuns: 500 },
  )
})

test('filters, tags, other names and white space control are left to Liquid', () => {
  for (const source of [
    '{{ original | upcase }}',
    '{% if true %}x{% endif %}',
    '{{ iteration }}',
    '{{- original }}',
    '{{ steps.draft.parsed }}',
  ]) {
    expect(compilePlainTemplate(source)).toBeUndefined()
  }
})

test('a missing value is still an error that names it', () => {
  expect(() => compileTemplate('use {{ steps.nobody.output }}').render(scope)).toThrowError(
    expect.objectContaining({
      code: 'STEP_FAILED',
      details: expect.objectContaining({ variable: expect.stringContaining('nobody') }),
    }),
  )
})

test('a value is never rendered as a template', () => {
  expect(compileTemplate('{{ original }}').render(scope)).toBe('the question {{ original }}')
})
