import { describe, expect, test } from 'vitest'
import type { PromptScope } from '../../src/domain/definition/prompt-scope.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { compileCondition } from '../../src/prompts/conditions/condition.ts'
import { caught } from '../support/caught.ts'
import { HOSTILE_CONDITIONS } from '../support/hostile-sources.ts'

const scope: PromptScope = {
  original: 'Hello',
  steps: {
    classify: {
      output: 'TECHNICAL: pumps',
      status: 'SUCCESS',
      parsed: { score: 0.8, count: 3, issues: [{ severity: 'high' }] },
      samples: ['a', 'b'],
      sources: [{ kind: 'citation', url: 'https://example.org/pumps' }],
    },
    'my-step': { status: 'SKIPPED' },
  },
  iteration: 2,
  metadata: { tier: 'gold' },
}
const holds = (source: string, over: Partial<PromptScope> = {}) => compileCondition(source).evaluate({ ...scope, ...over })

describe('evaluating', () => {
  test.each([
    ['steps.classify.output.contains("TECHNICAL")', true],
    ['steps.classify.output.startsWith("LEGAL")', false],
    ['steps.classify.output.lower().trim().endsWith("pumps")', true],
    ['steps["my-step"].status == "SKIPPED"', true],
    ['steps.classify.parsed.score > 0.5 && iteration < 3', true],
    ['steps.classify.parsed.count == 3', true],
    ['steps.classify.parsed.issues.exists(i, i.severity in ["high", "critical"])', true],
    ['steps.classify.samples.filter(s, s == "a").size() == 1', true],
    ['steps.classify.sources.exists(s, s.url.startsWith("https://example.org/"))', true],
    ['has(steps.classify.parsed) && !has(steps.missing)', true],
    ['metadata.tier == "gold" ? iteration == 2 : false', true],
    ['previous == "" && input == ""', true],
    ['size(history) == 0', true],
  ])('%s is %s', (source, expected) => {
    expect(holds(source)).toBe(expected)
  })

  test('a missing value fails the step and is named in the error', () => {
    const steps = { draft: { output: 'D', status: 'SUCCESS' } }
    expect(caught(() => holds('steps.draft.parsed.score > 0.5', { steps }))).toMatchObject({
      code: 'STEP_FAILED',
      message: expect.stringContaining('parsed'),
    })
    expect(caught(() => holds('metadata.missing == 1'))).toMatchObject({
      code: 'STEP_FAILED',
      message: expect.stringContaining('missing'),
    })
  })

  test.each([
    ['steps["my-step"].output == "x"', false],
    ['steps["my-step"].output != "x"', false],
    ['!steps["my-step"].output.contains("x")', false],
    ['steps["my-step"].parsed.score > 0.5', false],
    ['double(steps["my-step"].output) > 0.5', false],
    ['"a" in steps["my-step"].samples', false],
    ['steps.unrun.output == "x"', false],
    ['steps["my-step"].output == "x" || steps.classify.parsed.count == 3', true],
    ['steps.classify.parsed.count == 3 && steps["my-step"].output == "x"', false],
    ['has(steps.unrun) || iteration == 2', true],
    ['!has(steps.unrun)', true],
    ['steps["my-step"].status == "SKIPPED" ? iteration == 2 : steps["my-step"].output == "x"', true],
  ])('over a step that gave no output, %s is %s', (source, expected) => {
    expect(holds(source)).toBe(expected)
  })

  test.each([
    ['iteration in [2.0]', true],
    ['2.0 in [1, 2]', true],
    ['steps.classify.parsed.score in [1, 0.8]', true],
    ['-1 in [-1.0, 3.5]', true],
    ['size(original) in [5.0]', true],
    ['(iteration > 1 ? 1 : 0.5) > 0.6', true],
    ['(iteration > 1 ? iteration : 0.5) == 2', true],
    ['(iteration > 5 ? 1 : 0.5) in [0.5]', true],
    ['(iteration > 1 ? [1] : [1.0]) == [1.0]', true],
    ['[1, [2.0]] == [1.0, [2]]', true],
    ['{"a": 1} == {"a": 1.0}', true],
    ['metadata.list.exists(n, n in [3.0])', true],
    ['7 / 2 == 3 && 7.0 / 2 == 3.5', true],
  ])('whole and decimal numbers are compared in %s', (source, expected) => {
    expect(holds(source, { metadata: { list: [1, 3] } })).toBe(expected)
  })

  test.each([
    '1 / 0 > 1',
    '1.0 / 0.0 > 1.0',
    'steps.classify.parsed.score / metadata.zero > 1',
    '7.5 % 0.0 == 0.0',
    'iteration % metadata.zero == 0',
  ])('%s is reported as a division by zero', (source) => {
    expect(caught(() => holds(source, { metadata: { zero: 0 } }))).toMatchObject({
      code: 'STEP_FAILED',
      message: 'condition: it divides by zero',
    })
  })

  test('a result that is neither true nor false is an error', () => {
    expect(caught(() => holds('metadata.tier'))).toMatchObject({
      code: 'STEP_FAILED',
      message: expect.stringContaining('true or false'),
    })
  })

  test('an error of an accessor is rethrown unchanged', () => {
    const denied = new OrchestratorError('DATA_SHARING_DENIED', 'not for you')
    const steps = {
      classify: {
        status: 'SUCCESS',
        get output(): string {
          throw denied
        },
      },
    }
    expect(caught(() => holds('steps.classify.output == "x"', { steps }))).toBe(denied)
  })

  test('lists over a thousand entries and unbounded reading are rejected', () => {
    const long = Array.from({ length: 1_001 }, (_, index) => index)
    expect(caught(() => holds('metadata.long.exists(a, a == 1)', { metadata: { long } }))).toMatchObject({ code: 'STEP_FAILED' })
    const list = long.slice(0, 1_000)
    const steps = { big: { output: 'x'.repeat(100_000), status: 'SUCCESS' } }
    const source = 'metadata.list.filter(a, steps.big.output.contains("y")).size() == 0'
    expect(caught(() => holds(source, { metadata: { list }, steps }))).toMatchObject({
      code: 'STEP_FAILED',
      message: expect.stringContaining('reads more'),
    })
  })
})

test('a search that could take seconds is rejected, a long one that cannot is run', () => {
  const run = 'a'.repeat(100_000)
  const steps = { a: { output: run, status: 'SUCCESS' }, b: { output: `${run}b${run}`, status: 'SUCCESS' } }
  expect(caught(() => holds('steps.b.output.contains(steps.a.output)', { steps }))).toMatchObject({ code: 'STEP_FAILED' })
  expect(holds('steps.b.output.contains("aba")', { steps })).toBe(true)
  expect(holds('steps.b.output.contains(original)', { steps })).toBe(false)
})

describe('references', () => {
  test('finds steps by name and by key', () => {
    expect(compileCondition('steps.a.output == steps["b"].output && original != ""').references).toMatchObject({
      steps: ['a', 'b'],
      allSteps: false,
      original: true,
      previous: false,
    })
  })

  test.each(['steps[original].output == "x"', 'steps.exists(k, k == "a")', 'size(steps) > 1'])(
    'the condition %s may read every step',
    (source) => {
      expect(compileCondition(source).references.allSteps).toBe(true)
    },
  )
})

describe('invalid sources are rejected before they run', () => {
  test.each([
    ['orignal == ""', 'unknown variable "orignal"; did you mean "original"?'],
    ['steps.a.outptu == ""', 'did you mean "output"?'],
    ['steps.my-step.output == ""', 'steps["my-step"]'],
    ['original.contians("x")', 'did you mean "contains"?'],
    ['original.contains(3)', 'contains(int)'],
    ['original.matches("a+")', 'no method "matches"'],
    ['original', 'true or false, found one of type string'],
    ['iteration + 1', 'true or false, found a number'],
    ['iteration > 1 ? 1 : 0.5', 'true or false, found a number'],
    ['iteration > 1 ? 1 : "one"', 'must have the same type'],
    ['original / 2 == 1', '"/" cannot be used'],
    ['dyn(1) == 1', 'no function "dyn"'],
    ['divisor(1) == 1', 'no function "divisor"'],
    ['original == ', 'Unexpected'],
    ['original == "x" && steps.a.samples.exists(a, steps.a.samples.all(b, a == b))', 'inside another loop'],
  ])('%s', (source, message) => {
    const error = caught(() => compileCondition(source))
    expect(error).toMatchObject({ code: 'FLOW_INVALID' })
    expect(error).toHaveProperty('message', expect.stringContaining(message))
  })

  test('the error states line and column of a mistake', () => {
    expect(caught(() => compileCondition('original == "x" &&\n  orignal == "y"'))).toMatchObject({
      details: { line: 2, column: 3 },
    })
  })
})

test('no hostile condition runs code, reaches a prototype or ends in an error without a code', () => {
  const metadata = {
    list: Array.from({ length: 1_000 }, (_, index) => index),
    long: Array.from({ length: 100_000 }, (_, index) => index),
  }
  const run = 'a'.repeat(100_000)
  const steps = {
    runs: { output: run + run, status: 'SUCCESS' },
    pattern: { output: `${run}b${run}`, status: 'SUCCESS' },
    draft: { output: 'D', status: 'SUCCESS', parsed: { a: 1 } },
    big: { output: 'lorem ipsum '.repeat(100_000), status: 'SUCCESS' },
  }
  for (const source of HOSTILE_CONDITIONS) {
    try {
      expect(typeof holds(source, { metadata, steps })).toBe('boolean')
    } catch (error) {
      expect(OrchestratorError.is(error), `${source.slice(0, 100)}: ${error}`).toBe(true)
    }
  }
})

describe('whole and decimal numbers work in one condition', () => {
  const parsed = { score: 1, half: 0.5, count: 3, list: [1, 2.5], text: '3' }
  const steps = { a: { output: '5', status: 'SUCCESS', parsed } }

  test.each([
    ['steps.a.parsed.score > 0.8', true],
    ['steps.a.parsed.score >= 1', true],
    ['steps.a.parsed.score == 1', true],
    ['iteration >= 2.0', true],
    ['iteration == 2.0', true],
    ['2.0 != iteration', false],
    ['iteration < steps.a.parsed.count', true],
    ['steps.a.parsed.score * 100 >= 80', true],
    ['steps.a.parsed.count + 1 == 4', true],
    ['1 - steps.a.parsed.half < 0.6', true],
    ['steps.a.parsed.count / 2 == 1.5', true],
    ['steps.a.parsed.count % 2 == 1', true],
    ['steps.a.parsed.half % steps.a.parsed.count == 0.5', true],
    ['iteration * 0.5 == 1', true],
    ['iteration % 2 == 0', true],
    ['size(steps.a.output) * 0.5 < 1', true],
    ['size(steps.a.parsed.list) == 2.0', true],
    ['steps.a.parsed.list.size() == steps.a.parsed.count - 1', true],
    ['iteration in [1, 2]', true],
    ['double(iteration) in [1.0, 2.0]', true],
    ['steps.a.parsed.count in [1, 2, 3]', true],
    ['1 in steps.a.parsed.list', true],
    ['[1, 2] == [1.0, 2.0]', true],
    ['steps.a.parsed.list.exists(v, v * 2 == 5)', true],
    ['(steps.a.parsed.score > 1 ? 1.0 : 0.5) < 0.8', true],
    ['double(steps.a.output) > 4', true],
    ['steps.a.parsed.list[0] == 1', true],
  ])('%s is %s', (source, expected) => {
    expect(holds(source, { steps })).toBe(expected)
  })

  test.each([
    ['steps.a.parsed.text > 2', '">" cannot be used between text and a whole number; write double(…)'],
    ['steps.a.parsed.text * 2 > 2', '"*" cannot be used between text and a whole number'],
    ['steps.a.parsed.count / 0 > 1', 'divides by zero'],
    ['steps.a.parsed.count % 0 > 1', 'divides by zero'],
  ])('the condition %s fails with %s', (source, message) => {
    const error = caught(() => holds(source, { steps }))
    expect(error).toMatchObject({ code: 'STEP_FAILED', message: expect.stringContaining(message) })
  })

  test.each(['steps.a.output == 5', 'steps.a.output > 0.5', '3 <= steps.a.status', 'original > 1'])(
    '%s is refused before anything is paid',
    (source) => {
      const error = caught(() => compileCondition(source))
      expect(error).toMatchObject({ code: 'FLOW_INVALID', message: expect.stringContaining('double(…)') })
    },
  )
})
