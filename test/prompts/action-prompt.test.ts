import { describe, expect, test } from 'vitest'
import { StepAction } from '../../src/domain/vocabulary.ts'
import { actionPrompt, composeUserContent } from '../../src/prompts/action-prompt.ts'

test('every action of a model has an instruction of its own', () => {
  const actions = Object.values(StepAction).filter((action) => !['run', 'approve', 'wait'].includes(action))
  const prompts = actions.map(actionPrompt)
  expect(new Set(prompts).size).toBe(actions.length)
  for (const prompt of prompts) expect(prompt).toMatch(/^[A-Z].*\.$/s)
})

describe('composing the message of a step', () => {
  test('a prompt that mentions all inputs itself stays unchanged', () => {
    expect(composeUserContent({ prompt: 'Write.', inputs: [] })).toBe('Write.')
  })

  test('the request is appended unchanged, inputs are fenced and labelled', () => {
    const content = composeUserContent(
      { prompt: 'Refine.', original: 'A haiku', inputs: [{ label: 'draft', text: 'Rain' }] },
      () => 'm',
    )
    expect(content).toMatch(/^Refine\.\n\nThe request:\nA haiku\n\n\[begin draft m: [^\n]*\]\nRain\n\[end draft m\]$/)
  })

  test('the instruction of a step without a prompt comes last, after what it names', () => {
    const parts = { prompt: 'Refine.', original: 'A haiku', inputs: [{ label: 'draft', text: 'Rain' }], promptLast: true }
    expect(composeUserContent(parts, () => 'm')).toMatch(
      /^The request:\nA haiku\n\n\[begin draft m: [^\n]*\]\nRain\n\[end draft m\]\n\nRefine\.$/,
    )
  })

  test('the request is not repeated', () => {
    expect(composeUserContent({ prompt: 'A haiku', original: 'A haiku', inputs: [] })).toBe('A haiku')
  })
})
