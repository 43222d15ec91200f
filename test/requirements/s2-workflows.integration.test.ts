// Workflows of the orchestrator of agents (REQUIREMENTS section 2).
//
// S2-05: a workflow ends at workflowTimeout as failed
// S2-06: at most maxConcurrentWorkflows run at once, and the others start in the order of their calls
// S2-10: a step is attempted maxAttempts times, with the delays of the policy, and nothing paid is called again
// S2-23: two agents work in one flow, and one reads what the other wrote
// S2-24: a workflow is a stored flow, whose state another orchestrator reads
// S2-26: a step is attempted maxAttempts times, with the delays of the policy, and nothing paid is called again
// S2-27: the complete pipeline runs every phase, and each answers in its type
// S2-28: steps run when the steps that they depend on have ended
// S2-29: steps run when the steps that they depend on have ended
// S2-30: the instruction of every phase can be replaced
// S2-44: an execution has id, status, times, steps and results
// S2-45: a workflow that cannot run is refused with the path before anything runs
// S2-46: the complete pipeline runs every phase, and each answers in its type
// S2-59: an executor of the user gets step and context, and its failure fails the step with its error
// S2-60: the complete pipeline runs every phase, and each answers in its type
// S2-61: the complete pipeline runs every phase, and each answers in its type
// S2-62: the complete pipeline runs every phase, and each answers in its type
// S2-63: the function deploy is called only for work that the validation approves
// S2-64: the function deploy is called only for work that the validation approves
// S2-65: steps run when the steps that they depend on have ended
// S2-67: without a key the simulator answers, and results say so

import { createPolyphony, Orchestrator, OrchestratorError, type StepExecutorContext, type WorkflowStep } from 'polyphony'
import { expect, onTestFinished, test } from 'vitest'
import { rejection } from '../support/caught.ts'
import { until } from '../support/flows.ts'
import { agent, createGate, openOrchestrator, textOf } from '../support/orchestrators.ts'

const one = (id: string) => ({ id: 'w', steps: [{ id, type: 'execution', prompt: `do ${id}` }] })

test('an execution has id, status, times, steps and results', async () => {
  const orchestrator = await openOrchestrator({ alpha: () => 'done' })
  await orchestrator.registerAgent(agent('a'))
  const execution = await orchestrator.executeWorkflow({ id: 'w', name: 'W', steps: [{ id: 's', type: 'execution' }] }, 'input')
  expect(execution).toEqual({
    id: expect.any(String),
    workflowId: 'w',
    status: 'completed',
    startTime: expect.any(Date),
    endTime: expect.any(Date),
    completedSteps: ['s'],
    failedSteps: [],
    results: { s: 'done' },
    simulated: false,
  })
  expect(await orchestrator.getWorkflowStatus(execution.id)).toEqual(execution)
  expect(await rejection(orchestrator.getWorkflowStatus('nowhere'))).toMatchObject({ code: 'FLOW_NOT_FOUND' })
})

test('a workflow that cannot run is refused with the path before anything runs', async () => {
  const requests: string[] = []
  const orchestrator = await openOrchestrator({ alpha: (request) => `answer ${requests.push(request.model)}` })
  await orchestrator.registerAgent(agent('a'))
  const refused = async (steps: readonly Partial<WorkflowStep>[]) => {
    const error = await rejection(orchestrator.executeWorkflow({ id: 'w', steps: JSON.parse(JSON.stringify(steps)) }))
    return OrchestratorError.is(error) ? `${error.code} ${error.message}` : error
  }
  const type = 'execution'
  expect(await refused([{ id: 'a', type: 'excution' }])).toMatch(/^FLOW_INVALID steps\[0\].type: .*did you mean "execution"\?/)
  expect(
    await refused([
      { id: 'a', type },
      { id: 'a', type },
    ]),
  ).toMatch(/^FLOW_INVALID steps\[1\].id: .*steps\[0\]/)
  expect(await refused([{ id: 'a', type, dependencies: ['b'] }])).toMatch(/^FLOW_INVALID steps\[0\].dependencies\[0\]: .*"b"/)
  const cycle = [
    { id: 'x', type },
    { id: 'a', type, dependencies: ['b'] },
    { id: 'b', type, dependencies: ['x', 'a'] },
  ]
  expect(await refused(cycle)).toMatch(/^FLOW_INVALID steps\[1\].dependencies: .*"a" → "b" → "a"/)
  expect(await refused([])).toMatch(/^FLOW_INVALID steps: expected at least one step/)
  expect(await refused([{ id: 'a', type, agent: 'b' }])).toMatch(/^AGENT_NOT_FOUND .*"b"; did you mean "a"\?/)
  expect(await refused([{ id: 'a', type, needs: ['flying'] }])).toMatch(/^AGENT_NOT_FOUND .*flying/)
  expect(requests).toEqual([])
})

test('steps run when the steps that they depend on have ended', async () => {
  const both = createGate()
  const started: string[] = []
  const orchestrator = await openOrchestrator({
    alpha: async (request) => {
      const [, id = ''] = /do (\w+)/.exec(textOf(request)) ?? []
      started.push(id)
      if (started.includes('review') && started.includes('tests')) both.open()
      // The two in the middle end only when both have started.
      if (id === 'review' || id === 'tests') await both.opened
      return `output of ${id}`
    },
  })
  await orchestrator.registerAgent(agent('a'))
  const step = (id: string, ...dependencies: string[]) => ({ id, type: 'execution', prompt: `do ${id}`, dependencies })
  const steps = [step('deploy', 'review', 'tests'), step('review', 'code'), step('tests', 'code'), step('code')]
  const { status, results } = await orchestrator.executeWorkflow({ id: 'w', steps })
  expect([status, started[0], started[3]]).toEqual(['completed', 'code', 'deploy'])
  expect(results).toEqual({
    code: 'output of code',
    review: 'output of review',
    tests: 'output of tests',
    deploy: 'output of deploy',
  })
})

test('two agents work in one flow, and one reads what the other wrote', async () => {
  const requests: string[] = []
  const replies = (name: string) => (request: Parameters<typeof textOf>[0]) => {
    requests.push(textOf(request))
    return `words of ${name}`
  }
  const providers = { alpha: replies('alpha'), beta: replies('beta') }
  const orchestrator = await openOrchestrator(providers, { dataSharing: 'allow' })
  await orchestrator.registerAgent(agent('writer'))
  await orchestrator.registerAgent(agent('critic', { model: 'beta/m' }))
  const steps = [
    { id: 'text.1', type: 'execution', agent: 'writer' },
    { id: 'review', type: 'validation', agent: 'critic', dependencies: ['text.1'] },
  ]
  const { results } = await orchestrator.executeWorkflow({ id: 'w', steps }, { topic: 'rain' })
  expect(results).toEqual({ 'text.1': 'words of alpha', review: 'words of beta' })
  expect(requests[0]).toMatch(/You are writer\..*topic.*rain/)
  expect(requests[1]).toMatch(/You are critic\..*words of alpha/)
  const denied = await openOrchestrator(providers)
  await denied.registerAgent(agent('writer'))
  await denied.registerAgent(agent('critic', { model: 'beta/m' }))
  const execution = await denied.executeWorkflow({ id: 'w', steps })
  expect(execution).toMatchObject({ status: 'failed', failedSteps: ['review'], error: { code: 'DATA_SHARING_DENIED' } })
})

test('an executor of the user gets step and context, and its failure fails the step with its error', async () => {
  const orchestrator = await openOrchestrator({ alpha: () => 'some text' })
  await orchestrator.registerAgent(agent('a'))
  const seen: StepExecutorContext[] = []
  const { stepExecutors } = orchestrator.workflowManager
  stepExecutors.set('count', (_step, context) => {
    seen.push(context)
    return { success: true, output: { length: String(context.results.text).length } }
  })
  stepExecutors.set('double', ({ factor }, { results }) => ({ success: true, output: results.count.length * Number(factor) }))
  stepExecutors.set('refuse', () => ({ success: false, output: null, error: 'the disk is full' }))
  stepExecutors.set('throw', () => {
    throw new TypeError('a bug of mine')
  })
  const steps = [
    { id: 'text', type: 'execution' },
    { id: 'count', type: 'count', dependencies: ['text'] },
    { id: 'double', type: 'double', factor: 2, dependencies: ['count'] },
  ]
  const input = { deep: { list: [1] } }
  expect((await orchestrator.executeWorkflow({ id: 'w', steps }, input)).results).toEqual({
    text: 'some text',
    count: { length: 9 },
    double: 18,
  })
  expect(seen).toMatchObject([{ workflowId: 'w', userId: 'local', input, results: { text: 'some text' }, attempt: 1 }])
  const refused = await orchestrator.executeWorkflow({ id: 'w', steps: [{ id: 'r', type: 'refuse' }] })
  expect(refused).toMatchObject({ status: 'failed', failedSteps: ['r'], error: { code: 'STEP_FAILED' } })
  expect(refused.error?.message).toBe('Step "r": executor "refuse" failed: the disk is full')
  const thrown = await orchestrator.executeWorkflow({ id: 'w', steps: [{ id: 't', type: 'throw' }] })
  expect(thrown.error?.message).toBe('Step "t": executor "throw" failed: a bug of mine')
})

test('a step is attempted maxAttempts times, with the delays of the policy, and nothing paid is called again', async () => {
  for (const backoff of ['fixed', 'linear', 'exponential'] as const) {
    const calls: string[] = []
    const replies = (request: Parameters<typeof textOf>[0]) => {
      const [, id = ''] = /do (\w+)/.exec(textOf(request)) ?? []
      calls.push(id)
      const isBroken = id === 'broken' || (id === 'flaky' && calls.filter((call) => call === 'flaky').length < 3)
      return isBroken ? new OrchestratorError('PROVIDER_UNAVAILABLE', 'busy') : id
    }
    const retryPolicy = { maxAttempts: 3, backoff, initialDelay: 2, maxDelay: 5 }
    const orchestrator = await openOrchestrator({ alpha: replies }, { retryPolicy }, { retry: { baseDelayMs: 1, maxDelayMs: 2 } })
    await orchestrator.registerAgent(agent('a'))
    const steps = [
      { id: 'first', type: 'execution', prompt: 'do first' },
      { id: 'flaky', type: 'execution', prompt: 'do flaky', dependencies: ['first'] },
    ]
    expect(await orchestrator.executeWorkflow({ id: 'w', steps })).toMatchObject({ status: 'completed', failedSteps: [] })
    expect(calls).toEqual(['first', 'flaky', 'flaky', 'flaky'])
    expect(await orchestrator.executeWorkflow(one('broken'))).toMatchObject({
      status: 'failed',
      error: { code: 'PROVIDER_UNAVAILABLE' },
    })
    expect(calls.filter((call) => call === 'broken')).toHaveLength(3)
    let attempts = 0
    orchestrator.workflowManager.stepExecutors.set('own', () => ({ success: ++attempts === 3, output: attempts }))
    expect((await orchestrator.executeWorkflow({ id: 'w', steps: [{ id: 'o', type: 'own' }] })).results).toEqual({ o: 3 })
  }
})

test('a workflow ends at workflowTimeout as failed', async () => {
  const orchestrator = await openOrchestrator({ alpha: () => ({ text: '', hang: true }) }, { workflowTimeout: 40 })
  await orchestrator.registerAgent(agent('a'))
  expect(await orchestrator.executeWorkflow(one('a'))).toMatchObject({ status: 'failed', error: { code: 'FLOW_TIMEOUT' } })
})

test('at most maxConcurrentWorkflows run at once, and the others start in the order of their calls', async () => {
  const gate = createGate()
  const started: string[] = []
  const reply = async (request: Parameters<typeof textOf>[0]) => {
    started.push(/do (\w+)/.exec(textOf(request))?.[1] ?? '')
    await gate.opened
    return 'x'
  }
  const orchestrator = await openOrchestrator({ alpha: reply }, { maxConcurrentWorkflows: 2 })
  await orchestrator.registerAgent(agent('a'))
  const all = ['a', 'b', 'c', 'd', 'e'].map((id) => orchestrator.executeWorkflow(one(id)))
  await until(() => started.length === 2 && orchestrator.getStats().workflows.queued === 3)
  expect(orchestrator.getStats().workflows).toMatchObject({ running: 2, queued: 3 })
  const last = orchestrator.workflowManager.list().at(-1)
  expect((await orchestrator.cancelWorkflow(last?.id ?? '')).status).toBe('cancelled')
  const running = orchestrator.workflowManager.list().find(({ status }) => status === 'running')
  expect((await orchestrator.cancelWorkflow(running?.id ?? '')).status).toBe('cancelled')
  gate.open()
  const outcomes = await Promise.all(all)
  expect(outcomes.filter(({ status }) => status === 'cancelled')).toHaveLength(2)
  expect(started).toEqual(['a', 'b', 'c', 'd'])
})

test('a workflow beyond maxQueue is refused at once, and one is accepted again when another has ended', async () => {
  const gate = createGate()
  const reply = async () => {
    await gate.opened
    return 'x'
  }
  const orchestrator = await openOrchestrator({ alpha: reply }, { maxConcurrentWorkflows: 1, maxQueue: 2 })
  await orchestrator.registerAgent(agent('a'))
  // All at the same moment: none of them is stored when the last one is refused.
  const all = ['a', 'b', 'c', 'd'].map((id) => orchestrator.executeWorkflow(one(id)))
  const error = await rejection(all[3] ?? Promise.resolve())
  expect(error).toMatchObject({ code: 'SERVICE_LIMIT_REACHED', details: { maxQueue: 2, maxConcurrentWorkflows: 1 } })
  expect(String(error)).toContain('at most 2 waiting workflows (maxQueue)')
  await until(() => orchestrator.workflowManager.list().length === 3)
  const last = orchestrator.workflowManager.list().at(-1)
  await orchestrator.cancelWorkflow(last?.id ?? '')
  const next = orchestrator.executeWorkflow(one('e'))
  gate.open()
  const outcomes = await Promise.all([...all.slice(0, 3), next])
  expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['cancelled', 'completed', 'completed', 'completed'])
})

test('a workflow is a stored flow, whose state another orchestrator reads', async () => {
  const polyphony = await createPolyphony({ database: 'memory://', simulator: true, logLevel: 'silent' })
  onTestFinished(() => polyphony.close())
  const [first, second] = [new Orchestrator({ polyphony }), new Orchestrator({ polyphony })]
  await first.start()
  await second.start()
  const execution = await first.executeCompleteWorkflow('A page')
  expect(await second.getWorkflowStatus(execution.id)).toMatchObject({
    ...{ id: execution.id, workflowId: execution.workflowId, status: 'completed', results: execution.results },
  })
  await first.stop()
  await second.stop()
  expect((await polyphony.orchestrator.getFlow(execution.id, 'local')).stepResults).toHaveLength(6)
  expect(await rejection(first.executeWorkflow(one('a')))).toMatchObject({ code: 'SERVICE_NOT_RUNNING' })
})

test('the complete pipeline runs every phase, and each answers in its type', async () => {
  const orchestrator = new Orchestrator({ polyphony: { database: 'memory://', simulator: true } })
  onTestFinished(() => orchestrator.stop())
  await orchestrator.start()
  const { status, completedSteps, results } = await orchestrator.executeCompleteWorkflow('A REST API')
  expect(status).toBe('completed')
  expect(completedSteps).toEqual([
    ...['requirement_analysis', 'task_generation', 'agent_assignment', 'execution', 'validation', 'deployment'],
  ])
  expect(results).toMatchObject({
    requirement_analysis: expect.stringContaining('A REST API'),
    task_generation: { tasks: [{ id: expect.any(String), priority: expect.stringMatching(/^(high|medium|low)$/) }] },
    agent_assignment: { assignments: [{ task: expect.any(String), agent: expect.any(String) }] },
    execution: expect.any(String),
    validation: { approved: true, issues: [] },
    deployment: { deployed: false, plan: expect.any(String) },
  })
  const plain = await openOrchestrator({ alpha: () => 'plain words' })
  await plain.registerAgent(agent('a'))
  const execution = await plain.executeCompleteWorkflow('A REST API')
  expect([execution.status, execution.results.task_generation]).toEqual(['completed', 'plain words'])
})

test('the instruction of every phase can be replaced', async () => {
  const requests: string[] = []
  const orchestrator = await openOrchestrator({ alpha: (request) => `answer ${requests.push(textOf(request))}` })
  await orchestrator.registerAgent(agent('a'))
  await orchestrator.executeCompleteWorkflow('A page', {
    prompts: { execution: 'Write it in Pascal.' },
    context: { team: 'blue' },
  })
  expect(requests[3]).toContain('Write it in Pascal.')
  expect(requests[3]).not.toContain('You carry out the work')
  expect(requests[0]).toMatch(/team.*blue/)
  const error = await rejection(
    orchestrator.executeWorkflow({ id: 'w', steps: [{ id: 'a', type: 'execution', prompt: '{{ nope }}' }] }),
  )
  expect(error).toMatchObject({ code: 'FLOW_INVALID' })
})

test('the function deploy is called only for work that the validation approves', async () => {
  const deployed: unknown[] = []
  const verdicts = [
    '{"issues":[],"feedback":"","score":1,"approved":true}',
    '{"issues":["no"],"feedback":"","score":0,"approved":false}',
  ]
  const functions = { deploy: { run: (given: unknown) => ({ deployed: deployed.push(given) > 0 }) } }
  for (const [index, verdict] of verdicts.entries()) {
    const replies = (request: Parameters<typeof textOf>[0]) =>
      textOf(request).includes('You validate work') ? verdict : 'the work'
    const orchestrator = await openOrchestrator({ alpha: replies }, {}, { functions })
    await orchestrator.registerAgent(agent('a'))
    const { status, results } = await orchestrator.executeCompleteWorkflow('A page')
    expect(status).toBe('completed')
    expect(results.deployment).toMatchObject({ deployed: index === 0 })
    expect(deployed).toMatchObject([{ results: { execution: 'the work' } }])
  }
})

test('without a key the simulator answers, and results say so', async () => {
  const orchestrator = new Orchestrator({ logLevel: 'silent' })
  onTestFinished(() => orchestrator.stop())
  await orchestrator.start()
  expect(await orchestrator.executeWorkflow(one('a'))).toMatchObject({ status: 'completed', simulated: true })
})

test('two orchestrators of one open Polyphony run the executors of each, and leave nothing behind', async () => {
  const polyphony = await createPolyphony({ database: 'memory://', simulator: true, logLevel: 'silent' })
  onTestFinished(() => polyphony.close())
  const open = async (output: string) => {
    const orchestrator = new Orchestrator({ polyphony })
    await orchestrator.start()
    orchestrator.workflowManager.stepExecutors.set('own', () => ({ success: true, output }))
    return orchestrator
  }
  const orchestrators = [await open('of one'), await open('of two')]
  const workflow = { id: 'shared', steps: [{ id: 'only', type: 'own' }] }
  const outcomes = await Promise.all(orchestrators.map((orchestrator) => orchestrator.executeWorkflow(workflow)))
  expect(outcomes.map(({ status, results }) => [status, results])).toEqual([
    ['completed', { only: 'of one' }],
    ['completed', { only: 'of two' }],
  ])
  for (const orchestrator of orchestrators) await orchestrator.stop()
  expect(polyphony.functions.list()).toEqual([])
})
