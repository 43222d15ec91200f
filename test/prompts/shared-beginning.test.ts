import { describe, expect, test } from 'vitest'
import { executors } from '../../src/executors/registry.ts'
import { sharedBeginning } from '../../src/prompts/shared-beginning.ts'
import { createTestParser } from '../support/definitions.ts'
import { step } from '../support/flows.ts'

const { parse } = createTestParser({ flowTypes: Object.values(executors) })

type Type = 'sequential' | 'parallel' | 'critique' | 'refinement'

/** What the step with this id shares with others of the flow. */
function shared(type: Type, id: string, steps: readonly object[], more: object = {}) {
  const definition = parse({ name: 'x', type, steps, ...more })
  const found = definition.steps.find((one) => one.id === id)
  if (!found) throw new Error(`no step ${id}`)
  return sharedBeginning(definition, executors[type], found)
}

const MATERIAL = 'Task: {{ original }}\nDraft: {{ input | fence }}\n'
const critique = (...critics: readonly object[]) => [
  step('draft', { prompt: 'original' }),
  ...critics.map((critic, index) => step(`critic${index + 1}`, { action: 'critique', ...critic })),
  step('refine', { action: 'refine', prompt: 'Mend {{ input }} by {{ steps.critic1.output }}' }),
]

describe('critics of one draft', () => {
  test('share the material before their own instructions, up to the end of a line', () => {
    const flow = critique({ prompt: `${MATERIAL}Check the facts.` }, { prompt: `${MATERIAL}Check the style.` })
    expect(shared('critique', 'critic1', flow)).toEqual({ sources: [MATERIAL], upTo: undefined })
  })

  test('share everything where their prompts are equal', () => {
    const flow = critique({ prompt: `${MATERIAL}Check.` }, { prompt: `${MATERIAL}Check.` })
    expect(shared('critique', 'critic2', flow)?.upTo).toBe('end')
  })

  test('without prompts share everything; with different actions all but the instruction', () => {
    const plain = { prompt: undefined }
    expect(shared('critique', 'critic1', critique(plain, plain))?.upTo).toBe('end')
    expect(shared('critique', 'critic1', critique(plain, { ...plain, action: 'validate' }))?.upTo).toBe('instruction')
  })

  test.each<[string, object]>([
    ['another model', { model: 'openai/gpt-5.4-mini' }],
    ['another system prompt', { system: 'Be kind.' }],
    ['another schema', { outputSchema: { type: 'object' } }],
    ['another reasoning', { settings: { reasoning: 'high' } }],
    ['tools', { tools: ['function/search'] }],
  ])('share nothing with a critic that has %s', (_, difference) => {
    const flow = critique({ prompt: MATERIAL }, { prompt: MATERIAL, ...difference })
    expect(shared('critique', 'critic2', flow)).toBeUndefined()
  })

  test('share the material with the step that refines, in the only round alone', () => {
    const flow = critique({ prompt: `${MATERIAL}Check.` })
    const steps = [...flow.slice(0, -1), step('refine', { action: 'refine', prompt: `${MATERIAL}Mend it.` })]
    expect(shared('critique', 'refine', steps)?.sources).toEqual([MATERIAL])
    // In more rounds the critics are asked for a typed verdict, whose schema stands before the prompt.
    expect(shared('critique', 'refine', steps, { critique: { rounds: 2 } })?.sources).toEqual(['Task: {{ original }}\nDraft: '])
  })

  test('share what is before the draft with their next rounds', () => {
    const flow = critique({ prompt: `${MATERIAL}Check.` })
    expect(shared('critique', 'critic1', flow, { critique: { rounds: 3 } })?.sources).toEqual(['Task: {{ original }}\nDraft: '])
  })
})

describe('values', () => {
  const pair = (prompt: string, more: object = {}) => [
    step('a', { prompt: 'original', model: 'openai/other' }),
    step('b', { prompt: `${prompt}\nFirst.`, ...more }),
    step('c', { prompt: `${prompt}\nSecond.`, ...more }),
  ]

  test.each<[string, string, object]>([
    ['the output of a step that both name', '{{ steps.a.output }}', {}],
    ['an input that both take from one step', '{{ input }}', { inputFrom: 'a' }],
  ])('that are equal continue the beginning: %s', (_, prompt, more) => {
    expect(shared('sequential', 'b', pair(`Read:\n${prompt}`, more))?.sources).toEqual([`Read:\n${prompt}\n`])
  })

  test('may be written with a quoted end of an output', () => {
    const prompt = `Read:\n{{ original | append: "}} \\" }}" | append: '}}' }}`
    expect(shared('sequential', 'b', pair(prompt))?.sources).toEqual([`${prompt}\n`])
  })

  test('inside of tags are not known before the prompt is rendered', () => {
    const prompt = 'Read:\n{% if iteration == 1 %}{{ original }}{% endif %}'
    expect(shared('sequential', 'b', pair(prompt))?.sources).toEqual(['Read:\n'])
  })

  test('that differ end the beginning: the nearest output, and the input of a sequence', () => {
    for (const prompt of ['{{ previous }}', '{{ input }}']) {
      expect(shared('sequential', 'b', pair(`Read:\n${prompt}`))?.sources).toEqual(['Read:\n'])
    }
  })
})

test('samples of one step are equal', () => {
  expect(shared('sequential', 'vote', [step('vote', { prompt: 'original', samples: 5 })])?.upTo).toBe('end')
})

test('a step alone, a function and a pool share nothing that is known before they run', () => {
  expect(shared('sequential', 'a', [step('a', { prompt: 'original' })])).toBeUndefined()
  const functions = [step('a', { prompt: () => 'x' }), step('b', { prompt: () => 'x' })]
  expect(shared('parallel', 'a', functions)).toBeUndefined()
  const pools = [step('a', { prompt: 'original', model: 'pool/fast' }), step('b', { prompt: 'original', model: 'pool/fast' })]
  expect(shared('parallel', 'a', pools)).toBeUndefined()
})
