import { describe, expect, test } from 'vitest'
import type { StepResult } from '../../src/domain/execution/step-result.ts'
import { executors } from '../../src/executors/registry.ts'
import { carriedResults } from '../../src/orchestrator/runs/carried-results.ts'
import { createTestParser } from '../support/definitions.ts'
import { step } from '../support/flows.ts'
import { instant, stepResult } from '../support/stored-data.ts'

interface Case {
  readonly type?: 'sequential' | 'graph' | 'parallel' | 'conditional'
  readonly steps: readonly object[]
  readonly from: number
  readonly policy?: object
  readonly otherInput?: boolean
  readonly changed?: readonly string[]
  readonly results: readonly StepResult[]
}

/** `step#iteration` of what is carried. */
function carried({ type = 'sequential', steps, from, policy = {}, otherInput = false, changed = [], results }: Case) {
  const definition = createTestParser().parse({ name: 'r', type, steps, contextPolicy: policy })
  const order = { definition, executor: executors[type], from, otherInput, changedSteps: new Set(changed) }
  return carriedResults(order, results).map(({ stepId, iteration }) => `${stepId}#${iteration}`)
}

/** A result that was under way from one second to the next. */
const done = (stepId: string, second: number, more: Partial<StepResult> = {}) =>
  stepResult('flow', stepId, { startedAt: instant(second), completedAt: instant(second + 1), ...more })

const CHAIN = [step('a'), step('b'), step('c')]
const GRAPH = [step('a'), step('x'), step('b', { dependsOn: ['a'] }), step('c', { dependsOn: ['b', 'x'] })]
const ALONE = { includeOriginalPrompt: false }

describe('of a chain', () => {
  const results = [done('a', 0), done('b', 2), done('c', 4)]

  test('in a chain all results before the step are carried', () => {
    expect(carried({ steps: CHAIN, from: 2, results })).toEqual(['a#1', 'b#1'])
    expect(carried({ steps: CHAIN, from: 0, results })).toEqual([])
  })

  test('in a chain a changed step runs again, and so do all after it', () => {
    expect(carried({ steps: CHAIN, from: 2, results, changed: ['a'] })).toEqual([])
    expect(carried({ steps: CHAIN, from: 2, results, changed: ['b'] })).toEqual(['a#1'])
    expect(carried({ steps: CHAIN, from: 2, results, changed: ['c'] })).toEqual(['a#1', 'b#1'])
  })

  test('in a chain a step that failed or never ran is not carried, nor are the steps after it', () => {
    const failed = done('a', 0, { status: 'FAILED', output: undefined })
    expect(carried({ steps: CHAIN, from: 2, results: [failed, done('b', 2)] })).toEqual([])
    expect(carried({ steps: CHAIN, from: 2, results: [done('b', 2)] })).toEqual([])
  })

  test('in a chain a skipped step does not keep the others from being carried', () => {
    const skipped = done('a', 0, { status: 'SKIPPED', output: undefined })
    expect(carried({ steps: CHAIN, from: 2, results: [skipped, done('b', 2)] })).toEqual(['b#1'])
  })

  test('a step that used the output of a step which was repeated later is outdated', () => {
    const repeated = done('a', 6, { iteration: 2 })
    expect(carried({ steps: CHAIN, from: 2, results: [...results, repeated] })).toEqual(['a#1', 'a#2'])
  })

  test('a step that was repeated before another used it is not outdated', () => {
    expect(carried({ steps: CHAIN, from: 2, results: [done('a', 0), done('a', 2, { iteration: 2 }), done('b', 4)] })).toEqual([
      'a#1',
      'a#2',
      'b#1',
    ])
  })
})

describe('of a graph', () => {
  const results = [done('a', 0), done('x', 0), done('b', 2), done('c', 4)]

  test('in a graph a change affects only steps downstream of it', () => {
    expect(carried({ type: 'graph', steps: GRAPH, from: 3, results, changed: ['a'] })).toEqual(['x#1'])
    expect(carried({ type: 'graph', steps: GRAPH, from: 3, results, changed: ['x'] })).toEqual(['a#1', 'b#1'])
  })

  test('in a graph a repeated step outdates only the steps that used it', () => {
    const repeated = done('a', 6, { iteration: 2 })
    expect(carried({ type: 'graph', steps: GRAPH, from: 3, results: [...results, repeated] })).toEqual(['a#1', 'x#1', 'a#2'])
  })
})

describe('with another prompt', () => {
  test('with another prompt a step that sees the prompt runs again, and one that does not is carried', () => {
    const steps = [step('a', { prompt: 'fixed' }), step('b', { prompt: '{{ original }}' }), step('c')]
    const results = [done('a', 0), done('b', 2)]
    expect(carried({ steps, from: 2, policy: ALONE, otherInput: true, results })).toEqual(['a#1'])
    expect(carried({ steps, from: 2, otherInput: true, results })).toEqual([])
  })

  test.each([
    ['a condition', { condition: 'original != ""' }],
    ['a prompt function', { prompt: () => 'fixed' }],
    ['no prompt of its own', { prompt: undefined }],
    ['the history', { prompt: '{{ history.size }}' }],
  ])('a step with %s counts as one that sees the prompt', (_, more) => {
    const steps = [step('a', { prompt: 'fixed', ...more }), step('b')]
    expect(carried({ steps, from: 1, policy: ALONE, otherInput: true, results: [done('a', 0)] })).toEqual([])
  })
})
