// An `agent_assignment` decides which agents do the steps of type `execution` after it.

import {
  createPolyphony,
  createScriptedProvider,
  type ModelRequest,
  Orchestrator,
  OrchestratorError,
  type PolyphonyEvent,
} from 'polyphony'
import { expect, onTestFinished, test } from 'vitest'
import { agent, openOrchestrator, textOf } from '../../support/orchestrators.ts'

/** Assigns every task in turn to the agents, and answers everything else with the name of its model. */
const team =
  (agents: readonly string[], requests: ModelRequest[] = [], space = '') =>
  (request: ModelRequest) => {
    requests.push(request)
    if (!textOf(request).includes('You assign every task')) return `work of ${request.model}`
    const assignments = agents.map((id, index) => `{"task":"T${index}","agent":${space}"${id}","reason":"fits"}`)
    return `{"assignments":[${assignments.join(',')}]}`
  }

const STEPS = [
  { id: 'assign', type: 'agent_assignment' },
  { id: 'work', type: 'execution', dependencies: ['assign'] },
  { id: 'check', type: 'validation', dependencies: ['work'] },
]
const workflow = { id: 'w', steps: STEPS }

/** An orchestrator whose agents `a`, `b` and `c` are all able to work. */
const open = async (replies: Parameters<typeof openOrchestrator>[0][string], polyphony = {}) => {
  const orchestrator = await openOrchestrator({ alpha: replies }, { loadBalancingStrategy: 'round_robin' }, polyphony)
  for (const id of ['a', 'b', 'c']) await orchestrator.registerAgent(agent(id))
  return orchestrator
}

test.each(['', ' '])('the agent that the assignment names does the work, and no other one is asked', async (space) => {
  const requests: ModelRequest[] = []
  const orchestrator = await open(team(['c', 'c'], requests, space))
  const events: PolyphonyEvent[] = []
  orchestrator.getEventDispatcher().registerHandler({ type: 'step:*', handler: (event) => void events.push(event) })
  const execution = await orchestrator.executeWorkflow(workflow)
  expect(execution).toMatchObject({
    ...{ status: 'completed', completedSteps: ['assign', 'work', 'check'], failedSteps: [] },
    results: { work: 'work of c' },
  })
  expect(requests).toHaveLength(3)
  expect(requests.map(textOf)[1]).toContain('You are c.')
  expect(requests.map(textOf)[1]).toContain('you are the agent \\"c\\"')
  const worked = events.flatMap(({ type, data }) => [
    [type, Reflect.get(Object(data), 'stepId'), Reflect.get(Object(data), 'agentId')],
  ])
  expect(worked.filter(([, id]) => id === 'work')).toEqual([
    ['step:started', 'work', 'c'],
    ['step:completed', 'work', undefined],
  ])
  expect(worked.some(([type]) => type === 'step:skipped')).toBe(false)
  expect(orchestrator.getLoadBalancer().getStats().agents).toMatchObject([
    { inFlight: 0 },
    { inFlight: 0 },
    { inFlight: 0, assigned: 2 },
  ])
})

test('every agent with a task does its own, and later steps read the work of all of them', async () => {
  const requests: ModelRequest[] = []
  const deployed: unknown[] = []
  const functions = { deploy: { run: (given: unknown) => ({ deployed: deployed.push(given) > 0 }) } }
  const orchestrator = await open(team(['a', 'c'], requests), { functions })
  const seen: unknown[] = []
  orchestrator.workflowManager.stepExecutors.set('read', (_step, { results }) => {
    seen.push(results.work)
    return { success: true }
  })
  const more = ['deployment', 'read'].map((type) => ({ id: type, type, dependencies: ['work'] }))
  const { status, results } = await orchestrator.executeWorkflow({ id: 'w', steps: [...STEPS, ...more] })
  expect([status, results.work]).toEqual(['completed', 'work of a\n\nwork of c'])
  expect(seen).toEqual(['work of a\n\nwork of c'])
  expect(deployed).toMatchObject([{ results: { work: 'work of a\n\nwork of c' } }])
  const check = requests.find((request) => textOf(request).includes('You validate work'))
  expect(check && textOf(check)).toMatch(/work a:.*work of a.*work c:.*work of c/s)
  expect(check && textOf(check)).not.toContain('work b')
})

test('where the assignment names no registered agent, the load balancer chooses', async () => {
  for (const named of [['nobody'], []]) {
    const requests: ModelRequest[] = []
    const orchestrator = await open(team(named, requests))
    const { status, completedSteps, results } = await orchestrator.executeWorkflow(workflow)
    expect([status, completedSteps]).toEqual(['completed', ['assign', 'work', 'check']])
    expect(results.work).toMatch(/^work of [abc]$/)
    expect(requests).toHaveLength(3)
  }
})

test('tasks of an agent that lacks what the step needs go to one that has it, and those of the others stay with them', async () => {
  const requests: ModelRequest[] = []
  const orchestrator = await open(team(['a', 'd'], requests))
  for (const id of ['e', 'f']) await orchestrator.registerAgent(agent(id, { capabilities: ['drawing'] }))
  await orchestrator.registerAgent(agent('d'))
  const steps = [STEPS[0], { id: 'work', type: 'execution', dependencies: ['assign'], needs: ['drawing'] }]
  const { status, results } = await orchestrator.executeWorkflow({ id: 'w', steps } as typeof workflow)
  expect([status, results.work]).toEqual(['completed', expect.stringMatching(/^work of [ef]$/)])
  const mixed = await openOrchestrator({ alpha: team(['e', 'd'], requests) })
  for (const id of ['e', 'f']) await mixed.registerAgent(agent(id, { capabilities: ['drawing'] }))
  await mixed.registerAgent(agent('d'))
  const both = await mixed.executeWorkflow({ id: 'w', steps } as typeof workflow)
  expect([both.status, both.results.work]).toEqual(['completed', expect.stringMatching(/^work of [ef]\n\nwork of e$/)])
  expect(
    requests.some((request) => textOf(request).includes('to none of these agents, which do their own: [\\"e\\",\\"f\\"]')),
  ).toBe(true)
})

test.each([
  ['with spaces before the colon', '{"assignments" : [{"task" : "T1", "agent" : "c"}]}'],
  ['with escapes, in a fence', 'Here it is:\n```json\n{"assignments": [{"agent":\n"\\u0063"}]}\n```\nDone.'],
  ['as a list', '[{"task":"T1","agent":\t"c"}]'],
])('an assignment is read as JSON: %s', async (_, text) => {
  const orchestrator = await open((request: ModelRequest) =>
    textOf(request).includes('You assign every task') ? text : `work of ${request.model}`,
  )
  expect((await orchestrator.executeWorkflow(workflow)).results.work).toBe('work of c')
})

test('an assignment chooses among 100 agents, and more are refused with what to do', async () => {
  const orchestrator = await openOrchestrator({ alpha: team(['agent-7', 'agent-99']) })
  for (let index = 0; index < 100; index++) await orchestrator.registerAgent(agent(`agent-${index}`))
  const { results } = await orchestrator.executeWorkflow(workflow)
  expect(results.work).toBe('work of agent-7\n\nwork of agent-99')
  const many = Array.from({ length: 5 }, (_, index) => ({ ...STEPS[1], id: `work${index}`, type: 'execution' }))
  await expect(orchestrator.executeWorkflow({ id: 'w', steps: [...STEPS, ...many] })).rejects.toThrow(
    'Workflow "w": expected at most 500 steps, found 8, and 600 for the agents among which assignments choose; name the agent',
  )
  await orchestrator.registerAgent(agent('one-more'))
  await expect(orchestrator.executeWorkflow(workflow)).rejects.toThrow(
    'Step "work": expected at most 100 agents among which an assignment chooses, found 101; name the agent of the step',
  )
})

test('a step that names its agent, and one that needs what only one agent can do, are left as they are', async () => {
  const orchestrator = await open(team(['a']))
  await orchestrator.registerAgent(agent('d', { capabilities: ['drawing'] }))
  const steps = [
    { id: 'assign', type: 'agent_assignment' },
    { id: 'fixed', type: 'execution', dependencies: ['assign'], agent: 'b' },
    { id: 'draw', type: 'execution', dependencies: ['assign'], needs: ['drawing'] },
    { id: 'free', type: 'execution' },
    { id: 'decided', type: 'execution', dependencies: ['fixed'] },
  ]
  const { results } = await orchestrator.executeWorkflow({ id: 'w', steps })
  expect(results).toMatchObject({ fixed: 'work of b', draw: 'work of d', decided: 'work of a' })
  expect(results.free).toMatch(/^work of/)
})

test('where one of two assigned agents fails the step has failed, and another orchestrator reads the same', async () => {
  const replies = (request: ModelRequest) => {
    const isOfC = textOf(request).includes('you are the agent \\"c\\"')
    return isOfC ? new OrchestratorError('PROVIDER_REJECTED', 'no') : team(['a', 'c'])(request)
  }
  const polyphony = await createPolyphony({
    ...{ database: 'memory://', logLevel: 'silent' },
    providers: { alpha: createScriptedProvider({ id: 'alpha', replies }) },
  })
  onTestFinished(() => polyphony.close())
  const [first, second] = [new Orchestrator({ polyphony }), new Orchestrator({ polyphony })]
  await first.start()
  await second.start()
  await first.registerAgent(agent('a'))
  await first.registerAgent(agent('c'))
  const execution = await first.executeWorkflow(workflow)
  expect(execution).toMatchObject({ status: 'failed', completedSteps: ['assign'], failedSteps: ['work'] })
  const { completedSteps, failedSteps, results } = execution
  expect(await second.getWorkflowStatus(execution.id)).toMatchObject({ status: 'failed', completedSteps, failedSteps, results })
  await first.stop()
  await second.stop()
})
