import { expect, test } from 'vitest'
import { executors } from '../../src/executors/registry.ts'
import { createStepSources } from '../../src/orchestrator/inspect/step-sources.ts'
import { createParser } from '../../src/polyphony.ts'

const { parse } = createParser()
const stepOnPrevious = (id: string, more: object = {}) => ({
  id,
  model: 'p/m',
  action: 'generate',
  prompt: 'Use {{ previous }}',
  ...more,
})

/** Sources of one step as the plan foresees them: `!` required, `?` only where a likelier step gives nothing. */
function sources(type: string, steps: readonly object[], stepId: string, more: object = {}): readonly string[] {
  const definition = parse({ name: 'x', type, steps, ...more })
  const found = definition.steps.find(({ id }) => id === stepId)
  if (!found) throw new Error(`no step ${stepId}`)
  return createStepSources(
    definition,
    executors[definition.type],
  )(found).map(({ source, isRequired, isStandIn }) => `${source.id}${isRequired ? '!' : ''}${isStandIn ? '?' : ''}`)
}

test('in a sequence the previous output is that of the nearest step that has one', () => {
  const steps = [
    stepOnPrevious('a', { prompt: 'go' }),
    stepOnPrevious('b', { optional: true }),
    stepOnPrevious('c'),
    stepOnPrevious('d', { condition: 'false' }),
    stepOnPrevious('e'),
  ]
  expect(sources('sequential', steps, 'c').toSorted()).toEqual(['a!?', 'b!'])
  expect(sources('sequential', steps, 'd')).toEqual(['c!'])
  expect(sources('sequential', steps, 'e').toSorted()).toEqual(['c!?', 'd!'])
})

test('in a graph a step reads only the steps that it waits for', () => {
  const steps = [
    stepOnPrevious('a', { prompt: 'go' }),
    stepOnPrevious('b', { prompt: 'go' }),
    stepOnPrevious('c', { dependsOn: ['a'] }),
  ]
  expect(sources('graph', steps, 'c')).toEqual(['a!'])
})

test('a branch does not see its neighbours, and a step after the group sees one of them', () => {
  const steps = [
    stepOnPrevious('route', { prompt: 'go' }),
    stepOnPrevious('left', { condition: 'true' }),
    stepOnPrevious('right', { otherwise: true }),
    stepOnPrevious('end'),
  ]
  expect(sources('conditional', steps, 'right')).toEqual(['route!'])
  expect(sources('conditional', steps, 'end').toSorted()).toEqual(['left!?', 'right!'])
})

test('after a branch group whose branches may fail, the step before the group may be read', () => {
  const branches = [stepOnPrevious('left', { condition: 'true', optional: true }), stepOnPrevious('right', { otherwise: true })]
  expect(
    sources('conditional', [stepOnPrevious('route', { prompt: 'go' }), ...branches, stepOnPrevious('end')], 'end'),
  ).toContain('route!?')
})

const LOOP = [
  stepOnPrevious('draft', { prompt: 'go' }),
  stepOnPrevious('critic', { action: 'critique' }),
  stepOnPrevious('refine', { action: 'refine' }),
  stepOnPrevious('last', { action: 'summarize' }),
]

test('a reviewer is given the draft or the refinement, and a refinement reads the review', () => {
  expect(sources('critique', LOOP, 'critic').toSorted()).toEqual(['draft!', 'refine!'])
  expect(sources('critique', LOOP, 'refine').toSorted()).toEqual(['critic!', 'draft!'])
})

test('a step after a critique may read a refinement or a review; after a refinement loop only a draft or a refinement', () => {
  expect(sources('critique', LOOP, 'last').toSorted()).toEqual(['critic!?', 'refine!'])
  expect(sources('refinement', LOOP, 'last').toSorted()).toEqual(['draft!?', 'refine!'])
})
