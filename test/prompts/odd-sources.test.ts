import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { PromptScope } from '../../src/domain/definition/prompt-scope.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { compileCondition } from '../../src/prompts/conditions/condition.ts'
import { compileTemplate } from '../../src/prompts/template.ts'

const scope: PromptScope = {
  original: 'Hello',
  previous: 'before',
  steps: { a: { output: 'text', status: 'SUCCESS', parsed: { list: [1, 'x', null], deep: { er: true } }, samples: ['p', 'q'] } },
  iteration: 1,
  metadata: { n: 3, flag: true, none: null, list: [] },
}

const typedOrNothing = (run: () => unknown): void => {
  try {
    run()
  } catch (error) {
    expect(OrchestratorError.is(error) && ['FLOW_INVALID', 'STEP_FAILED'].includes(error.code), String(error)).toBe(true)
  }
}

const NAMES = [
  'original',
  'previous',
  'steps.a.output',
  'steps["a"].parsed.list',
  'steps.b.output',
  'metadata.n',
  'metadata.none',
  'iteration',
  'nobody',
]
const TEMPLATE_PIECES = [
  '{{ ',
  ' }}',
  '{% if ',
  ' %}',
  '{% endif %}',
  '{% for i in ',
  '{% endfor %}',
  '{% assign x = ',
  '{% else %}',
  '{% raw %}',
  '{%- ',
  '-%}',
]
const FILTER_PIECES = [
  ' | upcase',
  ' | split: ""',
  ' | join: ","',
  ' | fence: "x"',
  ' | json',
  ' | sort',
  ' | default: 1',
  ' | append: original',
  ' | slice: -1, 9',
  ' contains ',
  ' == ',
  '(1..3)',
  '"x"',
  '0',
  '-1',
  'i',
  'x',
  'nil',
]

test('any string of template fragments renders or fails with a code', () => {
  const piece = fc.oneof(fc.constantFrom(...NAMES, ...TEMPLATE_PIECES, ...FILTER_PIECES), fc.string({ maxLength: 5 }))
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), (pieces) =>
      typedOrNothing(() => compileTemplate(pieces.join('')).render(scope)),
    ),
    { numRuns: 5_000 },
  )
})

test('any output with any chain of filters renders or fails with a code', () => {
  const filters = fc.array(fc.constantFrom(...FILTER_PIECES.filter((piece) => piece.startsWith(' |'))), { maxLength: 5 })
  fc.assert(
    fc.property(fc.constantFrom(...NAMES), filters, (name, chain) =>
      typedOrNothing(() => expect(compileTemplate(`{{ ${name}${chain.join('')} }}`).render(scope)).toBeTypeOf('string')),
    ),
    { numRuns: 2_000 },
  )
})

const OPERATORS = [' == ', ' && ', ' || ', ' < ', ' + ', ' in ', ' ? ', ' : ', '!', '-', '(', ')', '[', ']', '.', ',']
const CALLS = [
  '.contains(',
  '.size()',
  '.exists(i, ',
  '.filter(i, ',
  'has(',
  'size(',
  'int(',
  'string(',
  'double(',
  '.startsWith("a")',
  '.lower()',
  '.map(',
  'true',
  'null',
  '1',
  '1.5',
  '"a"',
  'i',
]

test('any string of condition fragments is true, false, or an error with a code', () => {
  const piece = fc.oneof(
    { weight: 9, arbitrary: fc.constantFrom(...NAMES, ...OPERATORS, ...CALLS) },
    { weight: 1, arbitrary: fc.string({ maxLength: 5 }) },
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) =>
      typedOrNothing(() => expect(compileCondition(pieces.join('')).evaluate(scope)).toBeTypeOf('boolean')),
    ),
    { numRuns: 5_000 },
  )
})
