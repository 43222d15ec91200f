import { expect, test } from 'vitest'
import { OrchestrationFlowType } from '../../src/domain/vocabulary.ts'
import { executors } from '../../src/executors/registry.ts'
import { describeExecutor } from '../contracts/executor.ts'
import { createTestParser } from '../support/definitions.ts'
import { step } from '../support/flows.ts'

const { parse } = createTestParser({ flowTypes: Object.values(executors) })

const define = (type: string, steps: readonly object[], more: object = {}) => parse({ name: type, type, steps, ...more })

describeExecutor({
  name: 'sequential',
  executor: executors.sequential,
  definitions: {
    'three steps': define('sequential', [step('a'), step('b'), step('c')]),
    'steps with conditions': define('sequential', [step('a'), step('b', { condition: 'true' }), step('c')]),
  },
})

const FAN = [step('a'), step('b'), step('c'), step('join', { inputFrom: 'all', prompt: 'join {{ input }}' })]

describeExecutor({
  name: 'parallel',
  executor: executors.parallel,
  definitions: {
    'a fan that is joined': define('parallel', FAN),
    'open ends, two at a time': define('parallel', [step('a'), step('b'), step('c')], { parallel: { maxConcurrency: 2 } }),
    'a branch with a condition': define('parallel', [step('a', { condition: 'true' }), step('b'), step('c', { inputFrom: 'a' })]),
  },
})

describeExecutor({
  name: 'graph',
  executor: executors.graph,
  definitions: {
    'a diamond': define('graph', [
      step('top'),
      step('left', { dependsOn: ['top'] }),
      step('right', { dependsOn: ['top'], condition: 'true' }),
      step('bottom', { dependsOn: ['left', 'right'] }),
    ]),
    'a chain that starts with a condition': define('graph', [
      step('a', { condition: 'true' }),
      step('b', { inputFrom: 'a' }),
      step('c', { prompt: 'do c with {{ steps.b.output }}' }),
      step('d'),
    ]),
  },
})

const BRANCHES = [
  step('classify'),
  step('left', { condition: 'true' }),
  step('right', { condition: 'true' }),
  step('other', { otherwise: true }),
  step('end'),
]

describeExecutor({
  name: 'conditional',
  executor: executors.conditional,
  definitions: {
    'branches of which the first runs': define('conditional', BRANCHES),
    'branches of which every match runs': define('conditional', BRANCHES, { conditional: { match: 'all' } }),
    'branches without a default': define('conditional', BRANCHES.slice(0, 3)),
  },
})

const judge = (id: string) => step(id, { action: 'critique', prompt: 'judge {{ input }}' })
const SOMETIMES = { condition: 'true' }
const REFINE = step('refine', { action: 'refine', prompt: 'mend {{ input }}' })

describeExecutor({
  name: 'critique',
  executor: executors.critique,
  definitions: {
    'one round': define('critique', [step('draft'), judge('critic'), REFINE]),
    'rounds whose steps all have conditions': define(
      'critique',
      [
        step('draft', SOMETIMES),
        { ...judge('critic'), ...SOMETIMES },
        { ...judge('second'), ...SOMETIMES },
        { ...REFINE, ...SOMETIMES },
      ],
      { critique: { rounds: 2 } },
    ),
    'three rounds of two critics, with steps around': define(
      'critique',
      [
        step('outline', { action: 'analyze', condition: 'true' }),
        step('draft'),
        judge('critic'),
        judge('second'),
        REFINE,
        step('polish', { action: 'transform' }),
      ],
      { critique: { rounds: 3 } },
    ),
  },
})

describeExecutor({
  name: 'refinement',
  executor: executors.refinement,
  definitions: {
    'a loop': define('refinement', [step('draft'), step('evaluate', { action: 'evaluate' }), REFINE]),
    'a loop whose steps all have conditions': define('refinement', [
      step('draft', SOMETIMES),
      step('evaluate', { action: 'evaluate', ...SOMETIMES }),
      { ...REFINE, ...SOMETIMES },
    ]),
    'a loop that may reach a plateau, with steps around': define(
      'refinement',
      [
        step('outline', { action: 'analyze', condition: 'true' }),
        step('draft'),
        step('evaluate', { action: 'evaluate' }),
        REFINE,
        step('polish', { action: 'transform' }),
      ],
      { refinement: { maxIterations: 9, qualityThreshold: 1, patience: 2 } },
    ),
  },
})

test('every flow type has an executor, under its own name', () => {
  expect(Object.values(executors).map(({ type }) => type)).toEqual(Object.keys(executors))
  expect(Object.keys(executors).toSorted()).toEqual(Object.values(OrchestrationFlowType).toSorted())
})
