import { expect, test } from 'vitest'
import { findSuggestion, withSuggestion } from '../../src/domain/definition/suggestion.ts'

test.each([
  ['drfat', ['draft', 'final'], 'draft'],
  ['promt', ['model', 'prompt'], 'prompt'],
  ['Genrate', ['generate', 'critique'], 'generate'],
  ['maxCost', ['maxTokens', 'maxCostUsd'], 'maxCostUsd'],
  ['step1', ['step2', 'step1a'], 'step2'],
  ['x', ['y', 'zz'], 'y'],
])('%s among %j means %s', (name, candidates, meant) => {
  expect(findSuggestion(name, candidates)).toBe(meant)
})

test.each([
  ['banana', ['draft', 'final']],
  ['draft', ['draft']],
  ['', ['ab', 'cd']],
  ['x'.repeat(1_000), ['x'.repeat(999)]],
])('%s means none of %j', (name, candidates) => {
  expect(findSuggestion(name, candidates)).toBeUndefined()
})

test('a message without suggestion stays as it is', () => {
  expect(withSuggestion('no step "x"', undefined)).toBe('no step "x"')
  expect(withSuggestion('no step "x"', 'y')).toBe('no step "x"; did you mean "y"?')
})
