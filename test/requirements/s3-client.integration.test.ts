// S3-17: the basic example runs as it is written
// S3-18: a wait ends with TIMEOUT while the workflow continues
// S3-19: the monitoring example prints every change of every task
// S3-20: the basic example runs as it is written
// S3-21: the basic example runs as it is written
// S3-22: the full-stack pattern runs as it is written, frontend and backend at once
// S3-23: the code review asks three reviewers at once about the same code
// S3-24: the coordinator plans, its workers follow the plan, and it joins their results
// S3-25: each role works with its own system prompt
// S3-26: each role works with its own system prompt
// S3-27: each role works with its own system prompt
// S3-28: each role works with its own system prompt
// S3-29: each role works with its own system prompt
// S3-30: an agent of the factory works with its own model and temperature
// S3-31: the configuration replaces the system prompt of a role
// S3-50: the monitoring example prints every change of every task

import { expect, test } from 'vitest'
import {
  createAgent,
  PolyphonyError,
  SwarmInterface,
  WorkflowBuilder,
  WorkflowPatterns,
  type WorkflowReport,
  WorkflowType,
} from '../../src/client/client.ts'
import { BUILT_IN_ROLES } from '../../src/domain/agents/built-in-roles.ts'
import { runWorkflowServer, textOf } from '../server/swarm/workflow-server.ts'
import { BASIC, MONITORING, PATTERN, runSeedBlock } from './s3-blocks.ts'

test('the basic example runs as it is written', async () => {
  const server = await runWorkflowServer(() => 'done')
  expect(await runSeedBlock(BASIC, server.url)).toEqual(['completed'])
  expect(server.requests.map(({ system }) => system)).toEqual([BUILT_IN_ROLES.backend.system, BUILT_IN_ROLES.qa.system])
})

test('the full-stack pattern runs as it is written, frontend and backend at once', async () => {
  const server = await runWorkflowServer(() => 'done')
  await runSeedBlock(PATTERN, server.url)
  const [workflow] = await new SwarmInterface(server.url).listWorkflows()
  expect(workflow?.status).toBe('completed')
  expect(workflow?.tasks.map(({ agent_role: role }) => role)).toEqual(['frontend', 'backend', 'qa', 'debugger', 'qa'])
  expect(workflow?.tasks.slice(0, 2).map(({ depends_on: needs }) => needs)).toEqual([[], []])
  expect(textOf(server.requests[0])).toContain('User authentication system')
})

test('the monitoring example prints every change of every task', async () => {
  const open = new Map<string, () => void>()
  const server = await runWorkflowServer(async (request) => {
    const name = /Step (\w+)/.exec(textOf(request))?.[1] ?? ''
    await new Promise<void>((resolve) => open.set(name, resolve))
    return 'done'
  })
  const workflow = new WorkflowBuilder()
    .addTask('one', 'backend', { task: 'Step one' })
    .addTask('two', 'qa', { task: 'Step two' })
    .build()
  // A task ends when its state was printed, so that no state is too short to be seen.
  const swarm = new SwarmInterface(server.url)
  const lines: string[] = []
  const log = (line: string) => {
    lines.push(line)
    if (line === '  backend: running') open.get('one')?.()
    if (line === '  qa: running') open.get('two')?.()
  }
  await runSeedBlock(MONITORING, server.url, { swarm, workflow, console: { log } })
  const text = lines.join('\n')
  expect(text).toMatch(/Status: pending[\s\S]*Status: running\n {2}backend: running\n {2}qa: pending/)
  expect(text).toContain('Status: running\n  backend: completed\n  qa: running')
  expect(text).toMatch(/Status: completed\n {2}backend: completed\n {2}qa: completed$/)
})

test('a wait ends with TIMEOUT while the workflow continues', async () => {
  const answered = new Map<string, () => void>()
  const server = await runWorkflowServer(async () => {
    await new Promise<void>((resolve) => answered.set('now', resolve))
    return 'late'
  })
  const swarm = new SwarmInterface(server.url)
  const workflow = new WorkflowBuilder().addTask('a', 'qa', { task: 'slow' }).build()
  const error: unknown = await swarm.submitAndWait(workflow, 300).catch((thrown: unknown) => thrown)
  if (!PolyphonyError.is(error)) throw error
  expect(error.code).toBe('TIMEOUT')
  const id = String(error.details.workflowId)
  expect((await swarm.getWorkflowStatus(id)).status).toBe('running')
  answered.get('now')?.()
  expect((await server.ended(id)).status).toBe('completed')
})

test('without updates the status is read at intervals, and the result is the same', async () => {
  const server = await runWorkflowServer(() => 'done')
  const real = globalThis.fetch
  const broken = new SwarmInterface(server.url, undefined, 5)
  globalThis.fetch = (input, init) =>
    String(input).includes('/updates') ? Promise.resolve(new Response('<html>', { status: 404 })) : real(input, init)
  try {
    const seen: WorkflowReport['status'][] = []
    const workflow = new WorkflowBuilder(WorkflowType.PARALLEL).addTask('a', 'qa', { task: 'x' }).build()
    const done = await workflow.submitAndWait(broken, 60_000, ({ status }) => seen.push(status))
    expect(done.status).toBe('completed')
    expect([seen[0], seen.at(-1)]).toEqual(['pending', 'completed'])
  } finally {
    globalThis.fetch = real
  }
})

test('the code review asks three reviewers at once about the same code', async () => {
  const server = await runWorkflowServer(() => 'fine')
  const swarm = new SwarmInterface(server.url)
  const done = await WorkflowPatterns.parallelCodeReview('const x = {{ 1 }}', 'typescript').submitAndWait(swarm)
  expect(done).toMatchObject({ workflow_type: 'parallel', status: 'completed' })
  expect(done.tasks.map(({ agent_id: id }) => id)).toEqual(['security', 'performance', 'style'])
  for (const request of server.requests) expect(textOf(request)).toContain('const x = {{ 1 }}')
  expect(WorkflowPatterns.codeReview).toBe(WorkflowPatterns.parallelCodeReview)
})

test('the coordinator plans, its workers follow the plan, and it joins their results', async () => {
  const server = await runWorkflowServer((request) => {
    if (textOf(request).includes('Plan this goal')) return 'THE PLAN'
    return textOf(request).includes('Join the results') ? 'THE WHOLE' : `part of ${request.system?.slice(0, 30)}`
  })
  const swarm = new SwarmInterface(server.url)
  const done = await WorkflowPatterns.coordinatorSupervised('Build a checkout').submitAndWait(swarm)
  expect(done.tasks.map(({ agent_role: role, depends_on: needs }) => [role, needs.length])).toEqual([
    ['coordinator', 0],
    ['frontend', 1],
    ['backend', 1],
    ['qa', 1],
    ['coordinator', 4],
  ])
  expect(done.tasks.at(-1)?.result?.output).toBe('THE WHOLE')
  expect(textOf(server.requests[1])).toContain('THE PLAN')
  expect(textOf(server.requests.at(-1)).match(/part of/g)).toHaveLength(3)
})

test('each role works with its own system prompt', async () => {
  const server = await runWorkflowServer(() => 'done')
  const roles = ['frontend', 'backend', 'qa', 'debugger', 'coordinator'] as const
  const workflow = WorkflowPatterns.customGraph(
    roles.map((role) => ({ id: role, role, input: { task: 'x' } })),
    { why: 'roles' },
  )
  const done = await workflow.submitAndWait(new SwarmInterface(server.url))
  expect(done.metadata).toEqual({ why: 'roles' })
  expect(new Set(server.requests.map(({ system }) => system))).toEqual(new Set(roles.map((role) => BUILT_IN_ROLES[role].system)))
})

test('an agent of the factory works with its own model and temperature', async () => {
  const server = await runWorkflowServer(() => 'done')
  const agent = createAgent({ role: 'backend', agent_id: 'my-backend-agent', llm_model: 'gpt-4o', temperature: 0.7 })
  const workflow = new WorkflowBuilder().addTask(agent.agent_id, agent, { task: 'x' }).build()
  const done = await workflow.submitAndWait(new SwarmInterface(server.url))
  expect(done.tasks).toMatchObject([{ agent_id: 'my-backend-agent', agent_role: 'backend', result: { model: 'gpt-4o' } }])
  expect(server.requests[0]).toMatchObject({ system: BUILT_IN_ROLES.backend.system, settings: { temperature: 0.7 } })
})

test('the configuration replaces the system prompt of a role', async () => {
  const server = await runWorkflowServer(() => 'done', { agents: { qa: { system: 'Only count lines.' } } })
  await new WorkflowBuilder().addTask('a', 'qa', { task: 'x' }).submitAndWait(new SwarmInterface(server.url))
  expect(server.requests[0]?.system).toBe('Only count lines.')
})

test('an id makes repeated submissions start one workflow, and a client deletes, lists and asks for health', async () => {
  const server = await runWorkflowServer(() => ({ chunks: ['…'], hang: true }))
  const swarm = new SwarmInterface(server.url)
  const build = () => new WorkflowBuilder().setId('order-7').addMetadata('order', 7).addTask('a', 'qa', { task: 'x' }).build()
  const [first, again] = [await build().submit(swarm), await build().submit(swarm)]
  expect(again.workflow_id).toBe(first.workflow_id)
  expect(await swarm.healthCheck()).toMatchObject({ status: 'healthy', active_workflows: 1 })
  expect(await swarm.listWorkflows('running', 10)).toMatchObject([{ workflow_id: first.workflow_id, metadata: { order: 7 } }])
  expect(await swarm.listWorkflows({ status: 'running', limit: 10 })).toEqual(await swarm.listWorkflows('running', 10))
  await expect(swarm.deleteWorkflow(first.workflow_id)).rejects.toMatchObject({ code: 'FLOW_RUNNING', status: 409 })
  await swarm.deleteWorkflow(first.workflow_id, { force: true })
  await expect(swarm.getWorkflowStatus(first.workflow_id)).rejects.toMatchObject({ code: 'FLOW_NOT_FOUND' })
  expect(() => new WorkflowBuilder().setId('a b')).toThrow('setId: expected')
  expect(() => new WorkflowBuilder().build()).toThrow('at least one task')
})
