import { expect, test } from 'vitest'
import { executors } from '../../src/executors/registry.ts'
import { createAnswerSteps } from '../../src/orchestrator/inspect/answer-steps.ts'
import { flowTemplates, getFlowTemplate } from '../../templates/index.ts'
import { createTestParser } from '../support/definitions.ts'
import { step } from '../support/flows.ts'
import { walk } from '../support/walk.ts'

const { parse } = createTestParser({ flowTypes: Object.values(executors) })
const answerSteps = createAnswerSteps(executors)

const define = (type: string, steps: readonly object[], more: object = {}) => parse({ name: type, type, steps, ...more })
const judge = step('critic', { action: 'critique', prompt: 'judge {{ input }}' })
const refine = step('refine', { action: 'refine', prompt: 'mend {{ input }}' })

test.each([
  ['the last of a sequence', define('sequential', [step('a'), step('b', { condition: 'true' })]), ['b#1']],
  ['the one end of a graph', define('graph', [step('a'), step('b'), step('c', { dependsOn: ['a', 'b'] })]), ['c#1']],
  ['none of several ends', define('parallel', [step('a'), step('b')]), []],
  ['no end that may fail', define('parallel', [step('a')], { parallel: { onFailure: 'continue', minSuccesses: 0 } }), []],
  [
    'the end that waits for branches that may fail',
    define('parallel', [step('a'), step('b'), step('join', { inputFrom: 'all' })], { parallel: { onFailure: 'continue' } }),
    ['join#1'],
  ],
  [
    'each of the branches of which one runs',
    define('conditional', [step('route'), step('left', { condition: 'true' }), step('right', { otherwise: true })]),
    ['left#1', 'right#1'],
  ],
  [
    'none of branches that may all run',
    define('conditional', [step('left', { condition: 'true' }), step('right', { condition: 'true' })], {
      conditional: { match: 'all' },
    }),
    [],
  ],
  ['what is written after branches', define('conditional', [step('left', { condition: 'true' }), step('end')]), ['end#1']],
  [
    'the refinement of the last round',
    define('critique', [step('draft'), judge, refine], { critique: { rounds: 3 } }),
    ['refine#3'],
  ],
  ['what is written after the rounds', define('critique', [step('draft'), judge, refine, step('end')]), ['end#1']],
  ['no draft of a refinement', define('refinement', [step('draft'), judge, refine]), []],
  ['what is written after a refinement', define('refinement', [step('draft'), judge, refine, step('end')]), ['end#1']],
])('the steps whose text may be streamed as the answer: %s', (_, definition, expected) => {
  expect(answerSteps(definition).map(({ stepId, iteration }) => `${stepId}#${iteration}`)).toEqual(expected)
})

test.each([
  ['may fail without ending the flow', { optional: true }],
  ['is the most frequent of several samples', { samples: 3 }],
  ['is read as a value', { outputSchema: { type: 'object' } }],
  ['may begin anew after its first words', { fallbackAfterFirstToken: true }],
])('a step that %s is not streamed as the answer', (_, more) => {
  expect(answerSteps(define('sequential', [step('a'), step('b', more)]))).toEqual([])
})

test('every template lists only runs whose output becomes the output of the flow', async () => {
  for (const name of Object.keys(flowTemplates)) {
    const definition = parse(getFlowTemplate(name))
    const executor = executors[definition.type]
    const { outcome, asks } = await walk(executor, definition, {})
    const named = answerSteps(definition).map(({ stepId, iteration }) => `${stepId}#${iteration}`)
    for (const { key } of asks) if (named.includes(key)) expect(outcome?.final?.id, name).toContain(key)
  }
})
