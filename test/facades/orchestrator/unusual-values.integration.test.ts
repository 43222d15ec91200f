// What programs pass to an orchestrator by mistake, and names that objects of JavaScript have themselves.

import { Orchestrator, OrchestratorError, type StepExecutor } from 'polyphony'
import { expect, test } from 'vitest'
import { openOrchestrator } from '../../support/orchestrators.ts'

const reply = () => 'answer'
const withCycle = (): unknown => {
  const value: { self?: unknown } = {}
  value.self = value
  return value
}
const one = (step: Readonly<Record<string, unknown>> = {}) => ({ id: 'w', steps: [{ id: 's', type: 'execution', ...step }] })
const codeOf = (error: unknown): unknown => (OrchestratorError.is(error) ? error.code : error)

test.each(['__proto__', 'constructor', 'toString'])(
  'the value of a step "%s" is in the results and reaches later steps',
  async (id) => {
    const orchestrator = await openOrchestrator({ alpha: reply })
    const { stepExecutors } = orchestrator.workflowManager
    let seen: unknown
    stepExecutors.set('make', () => ({ success: true, output: { made: true } }))
    stepExecutors.set('read', (_step, { results }) => {
      seen = Object.entries(results)
      return { success: true, output: 'read' }
    })
    const { status, results } = await orchestrator.executeWorkflow({
      id: 'w',
      steps: [
        { id, type: 'make' },
        { id: 'last', type: 'read', dependencies: [id] },
      ],
    })
    expect(status).toBe('completed')
    expect(Object.entries(results)).toEqual([
      [id, { made: true }],
      ['last', 'read'],
    ])
    expect(seen).toEqual([[id, { made: true }]])
  },
)

test('an executor that cannot run is refused where it is set, and disturbs no workflow', async () => {
  const orchestrator = await openOrchestrator({ alpha: reply })
  const { stepExecutors } = orchestrator.workflowManager
  const set = (type: unknown, run: unknown) => () => Reflect.apply(stepExecutors.set, stepExecutors, [type, run])
  const run: StepExecutor = () => ({ success: true, output: 'own' })
  for (const type of [5, null, '', 'x'.repeat(201)]) expect(set(type, run)).toThrow(/stepExecutors.set: expected a type/)
  for (const value of [5, null, {}]) expect(set('own', value)).toThrow(/stepExecutors.set: expected a function for "own"/)
  expect([...stepExecutors]).toEqual([])
  await expect(orchestrator.executeWorkflow(one({ type: 'unknown' }))).rejects.toMatchObject({ code: 'FLOW_INVALID' })
  stepExecutors.set('own', run)
  expect(await orchestrator.executeWorkflow(one({ type: 'own' }))).toMatchObject({ results: { s: 'own' } })
})

test.each([withCycle(), { amount: 1n }, () => 'text'])(
  'an input or a workflow that JSON cannot hold is refused before anything runs',
  async (value) => {
    const requests: unknown[] = []
    const orchestrator = await openOrchestrator({ alpha: (request) => `${requests.push(request)}` })
    expect(await orchestrator.executeWorkflow(one(), value).catch(codeOf)).toBe('INPUT_INVALID')
    if (typeof value !== 'function') expect(await orchestrator.executeWorkflow(one({ value })).catch(codeOf)).toBe('FLOW_INVALID')
    expect(orchestrator.workflowManager.list()).toEqual([])
    expect(requests).toEqual([])
  },
)

test.each([
  [() => Promise.reject(null), 'threw: object'],
  [() => ({ success: true, output: withCycle() }), 'returned an unusable value: expected a JSON value'],
  [() => ({ success: true, output: () => 1 }), 'returned an unusable value: expected a JSON value, found a function'],
])('the error of an executor names the executor', async (run, words) => {
  const orchestrator = await openOrchestrator({ alpha: reply })
  orchestrator.workflowManager.stepExecutors.set('own', run)
  const { status, error } = await orchestrator.executeWorkflow(one({ type: 'own' }))
  expect(status).toBe('failed')
  expect(error?.message).toContain(`Step "s": executor "own" ${words}`)
})

test('an interval that no timer can hold is refused', () => {
  for (const name of ['healthCheckInterval', 'metricsCollectionInterval']) {
    expect(() => new Orchestrator({ [name]: 2_147_483_648 })).toThrow(`Orchestrator: ${name}: expected at most 2147483647`)
    expect(new Orchestrator({ [name]: 2_147_483_647 })).toBeInstanceOf(Orchestrator)
  }
})
