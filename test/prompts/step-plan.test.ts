import { describe, expect, test } from 'vitest'
import { executors } from '../../src/executors/registry.ts'
import { isScheduled, missingInput, selectOutputs, skippableSteps, stepPlans, unsureSteps } from '../../src/prompts/step-plan.ts'
import { createTestParser } from '../support/definitions.ts'
import { step } from '../support/flows.ts'

const { parse } = createTestParser({ flowTypes: Object.values(executors) })
const define = (type: string, steps: readonly object[], more: object = {}) => parse({ name: 'x', type, steps, ...more })

/** The ids that the last step selects out of the outputs of all steps before it, required ones with `!`. */
function selected(type: string, steps: readonly object[], given?: readonly string[]) {
  const definition = define(type, steps)
  const plan = stepPlans(definition).get(definition.steps.at(-1)?.id ?? '')
  if (!plan) throw new Error('no plan')
  const visible = definition.steps.slice(0, -1).map(({ id }) => ({ stepId: id }))
  const { inputs, wanted } = selectOutputs(
    plan,
    visible,
    visible.slice(-1),
    given?.map((stepId) => ({ stepId })),
  )
  return {
    inputs: inputs.map(({ stepId }) => stepId),
    wanted: [...wanted].map(([{ stepId }, required]) => `${stepId}${required ? '!' : ''}`),
  }
}

describe('the outputs that a step reads', () => {
  const two = [step('a'), step('b')]

  test.each<[string, string, object, readonly string[], readonly string[]]>([
    ['nothing said: the nearest output, if it may be shared', 'sequential', {}, ['b'], ['b']],
    ['{{ input }}: the nearest output, required', 'sequential', { prompt: '{{ input }}' }, ['b'], ['b!']],
    ['inputFrom a step: that one, required', 'sequential', { inputFrom: 'a' }, ['a'], ['a!']],
    [
      'inputFrom all: every output, if it may be shared',
      'sequential',
      { inputFrom: 'all', prompt: '{{ input }}' },
      ['a', 'b'],
      ['a', 'b'],
    ],
    ['inputFrom original: none', 'sequential', { inputFrom: 'original' }, [], []],
    ['dependsOn: these', 'graph', { dependsOn: ['a'] }, ['a'], ['a']],
    ['dependsOn and {{ input }}: these, required', 'graph', { dependsOn: ['a'], prompt: '{{ input }}' }, ['a'], ['a!']],
    ['nothing said in a graph: none', 'graph', {}, [], []],
    ['a named step beside the nearest', 'sequential', { prompt: '{{ steps.a.output }}' }, ['b'], ['b', 'a!']],
    ['all steps at once', 'sequential', { prompt: '{{ steps | json }}' }, ['b'], ['b!', 'a!']],
  ])('%s', (_, type, more, inputs, wanted) => {
    expect(selected(type, [...two, step('c', more)])).toEqual({ inputs, wanted })
  })

  test('an input that a loop provides replaces inputFrom and is required', () => {
    expect(selected('sequential', [...two, step('c', { inputFrom: 'b' })], ['a'])).toEqual({ inputs: ['a'], wanted: ['a!'] })
  })

  test('a hidden output is never required', () => {
    const definition = define('sequential', [step('a'), step('b', { inputFrom: 'a' })], {
      contextPolicy: { shareStepOutputs: false },
    })
    expect(stepPlans(definition).get('b')).toMatchObject({ input: { from: 'named', required: false }, mayRequire: false })
  })
})

describe('scheduling', () => {
  test('a step waits for every step that its fields name, and sees what those have seen', () => {
    const definition = define('graph', [
      step('a'),
      step('b', { dependsOn: ['a'] }),
      step('c', { condition: 'steps.b.output != ""' }),
      step('d', { prompt: '{{ steps.c.output }}' }),
    ])
    const plans = stepPlans(definition)
    expect([...(plans.get('c')?.waitsFor ?? [])]).toEqual(['b'])
    expect([...(plans.get('c')?.inputs ?? [])]).toEqual([])
    expect([...(plans.get('d')?.ancestors ?? [])].sort()).toEqual(['a', 'b', 'c'])
    expect([...(plans.get('d')?.needs ?? [])]).toEqual(['c'])
  })

  test('the plan of a definition is computed once', () => {
    const definition = define('sequential', [step('a')])
    expect(stepPlans(definition)).toBe(stepPlans(definition))
  })

  test('the flow types whose steps wait for what they name are those whose executors know no implicit predecessor', () => {
    for (const executor of Object.values(executors)) expect(isScheduled(executor)).toBe(executor.noImplicitPredecessor ?? false)
  })

  test('a step without the output that it needs is skipped, one with another input runs', () => {
    const definition = define('graph', [
      step('a'),
      step('b'),
      step('c', { dependsOn: ['a', 'b'] }),
      step('d', { inputFrom: 'a' }),
    ])
    const plans = stepPlans(definition)
    const outcomeOf = (id: string) => ({ status: id === 'a' ? 'SKIPPED' : 'SUCCESS' }) as const
    const reasons = ['c', 'd'].map((id) => {
      const plan = plans.get(id)
      return plan && missingInput(plan, outcomeOf)
    })
    expect(reasons).toEqual([undefined, 'step "a" gave no output'])
  })

  test('steps that may be skipped, and steps that may have no output for any reason', () => {
    const steps = [
      step('a', { condition: 'false' }),
      step('b', { optional: true }),
      step('c', { inputFrom: 'a' }),
      step('d', { inputFrom: 'b' }),
    ]
    const definition = define('sequential', steps)
    expect([...skippableSteps(definition)]).toEqual(['a', 'c'])
    expect([...unsureSteps(definition)]).toEqual(['a', 'b', 'c', 'd'])
    expect([...unsureSteps(define('parallel', [step('a')], { parallel: { onFailure: 'continue' } }))]).toEqual(['a'])
  })
})
