import { expect, test } from 'vitest'
import { BUILT_IN_ROLES } from '../../../src/domain/agents/built-in-roles.ts'
import { runServer } from '../running-server.ts'
import { runWorkflowServer, task, textOf } from './workflow-server.ts'

const answering = (request: Parameters<typeof textOf>[0]) => `answer to ${/Do (\w+)/.exec(textOf(request))?.[1]}`

test('a workflow is accepted at once with every field, and its end has the result of each task', async () => {
  const server = await runWorkflowServer(answering)
  const answer = await server.send('POST', '/run-graph', {
    body: { workflow_type: 'sequential', tasks: [task('one', { depends_on: [] })], metadata: { ticket: 7 } },
  })
  expect(answer.status).toBe(202)
  expect(answer.json).toMatchObject({
    workflow_id: expect.any(String),
    workflow_type: 'sequential',
    status: 'pending',
    created_at: expect.stringMatching(/^\d{4}-.*Z$/),
    tasks: [{ task_id: 'one', agent_id: 'one', agent_role: 'qa', agent: 'qa', status: 'pending', result: null }],
    metadata: { ticket: 7 },
  })
  expect(answer.headers.get('location')).toBe(`/status/${answer.json.workflow_id}`)
  const done = await server.ended(String(answer.json.workflow_id))
  expect(done).toMatchObject({
    status: 'completed',
    tasks: [{ status: 'completed', result: { output: 'answer to one', model: 'gpt-6-sol' }, error: null }],
    metadata: { ticket: 7 },
  })
  expect(server.requests[0]?.system).toBe(BUILT_IN_ROLES.qa.system)
})

test('each task of a sequence gets the output of the one before, and nothing else', async () => {
  const server = await runWorkflowServer(answering)
  await server.run({ workflow_type: 'sequential', tasks: [task('one'), task('two'), task('three')] })
  const [first, second, third] = server.requests.map(textOf)
  expect(first).toContain('Do one')
  expect(first).not.toContain('Results of earlier tasks')
  expect(second).toContain('answer to one')
  expect(third).toContain('answer to two')
  expect(third).not.toContain('answer to one')
  expect(third).not.toContain('Do one')
})

test('tasks without input run, because their role may say everything', async () => {
  const server = await runWorkflowServer((request) => `read ${textOf(request).length > 0}`)
  const bare = { agent_role: 'qa' }
  const done = await server.run({
    workflow_type: 'graph',
    tasks: [
      { ...bare, agent_id: '1' },
      { ...bare, agent_id: '2', input_data: {}, depends_on: ['1'] },
    ],
  })
  expect(done.tasks.map(({ status, result }) => [status, result?.output])).toEqual([
    ['completed', 'read true'],
    ['completed', 'read true'],
  ])
})

test('the tasks of a parallel workflow all run at once', async () => {
  const waiting: (() => void)[] = []
  const server = await runWorkflowServer(async (request) => {
    await new Promise<void>((resolve) => {
      waiting.push(resolve)
      if (waiting.length === 3) for (const go of waiting) go()
    })
    return answering(request)
  })
  const done = await server.run({ workflow_type: 'parallel', tasks: [task('a'), task('b'), task('c')] })
  expect(done.status).toBe('completed')
  expect(done.tasks.map(({ result }) => result?.output)).toEqual(['answer to a', 'answer to b', 'answer to c'])
})

test('a failed task makes a parallel workflow partial, and the others continue', async () => {
  const server = await runWorkflowServer((request) =>
    textOf(request).includes('Do bad') ? Object.assign(new Error('refused')) : answering(request),
  )
  const done = await server.run({ workflow_type: 'parallel', tasks: [task('good'), task('bad'), task('fine')] })
  expect(done.status).toBe('partial')
  expect(done.tasks.map(({ status }) => status)).toEqual(['completed', 'failed', 'completed'])
  expect(done.tasks[1]?.error).toMatchObject({ code: expect.any(String), message: expect.any(String) })
  const none = await server.run({ workflow_type: 'parallel', tasks: [task('bad')] })
  expect(none.status).toBe('failed')
  expect(none.error?.code).toEqual(expect.any(String))
})

test('a graph runs its roots together, waits for all dependencies, and skips what depends on a failed task', async () => {
  const waiting: (() => void)[] = []
  const server = await runWorkflowServer(async (request) => {
    const text = textOf(request)
    if (/Do root/.test(text)) {
      await new Promise<void>((resolve) => {
        waiting.push(resolve)
        if (waiting.length === 2) for (const go of waiting) go()
      })
    }
    return /Do (broken)/.test(text) ? new Error('broken') : answering(request)
  })
  const done = await server.run({
    workflow_type: 'graph',
    tasks: [
      task('last', { depends_on: ['joined', 'broken'] }),
      task('joined', { depends_on: ['root1', 'root2'] }),
      task('broken', { depends_on: ['root1'] }),
      task('root1'),
      task('root2'),
      task('after', { depends_on: ['last'] }),
    ],
  })
  const statuses = Object.fromEntries(done.tasks.map(({ agent_id, status }) => [agent_id, status]))
  expect(statuses).toEqual({
    root1: 'completed',
    root2: 'completed',
    joined: 'completed',
    broken: 'failed',
    last: 'skipped',
    after: 'skipped',
  })
  expect(done.status).toBe('partial')
  const joined = server.requests.map(textOf).find((text) => text.includes('Do joined'))
  expect(joined).toContain('answer to root1')
  expect(joined).toContain('answer to root2')
})

test.each([
  [
    'an unknown dependency',
    [task('a'), task('b', { depends_on: ['aa'] })],
    'tasks[1].depends_on[0]: expected the agent_id',
    '#/tasks/1/depends_on/0',
  ],
  [
    'a cycle',
    [task('a', { depends_on: ['c'] }), task('b', { depends_on: ['a'] }), task('c', { depends_on: ['b'] })],
    'expected no cycle, found "a" → "c" → "b" → "a"',
    '#/tasks/1/depends_on',
  ],
  ['a task that depends on itself', [task('a', { depends_on: ['a'] })], 'found "a" → "a"', '#/tasks/0/depends_on'],
  ['a name that is used twice', [task('a'), task('a')], 'tasks[1].agent_id: expected a name that no other', '#/tasks/1/agent_id'],
])('a graph with %s is refused before anything runs', async (_, tasks, message, pointer) => {
  const server = await runWorkflowServer(answering)
  const { status, json } = await server.send('POST', '/run-graph', { body: { workflow_type: 'graph', tasks } })
  expect(status).toBe(422)
  expect(json).toMatchObject({ code: 'INPUT_INVALID', detail: expect.stringContaining(message), errors: [{ pointer }] })
  expect(server.requests).toEqual([])
  expect((await server.send('GET', '/workflows')).text).toBe('[]')
})

test.each([
  ['dependsOn', ['a'], 'depends_on'],
  ['depends-on', ['a'], 'depends_on'],
  ['depend_on', ['a'], 'depends_on'],
  ['depnds_on', ['a'], 'depends_on'],
  ['dependencies', ['a'], 'depends_on'],
  ['systemPrompt', 'Be brief.', 'system_prompt'],
])('a task with %s is refused, because that would be lost', async (name, value, meant) => {
  const server = await runWorkflowServer(answering)
  const tasks = [task('a'), task('b', { [name]: value })]
  const { status, json } = await server.send('POST', '/run-graph', { body: { workflow_type: 'graph', tasks } })
  expect(status).toBe(422)
  expect(json).toMatchObject({
    code: 'INPUT_INVALID',
    detail: expect.stringContaining(`did you mean "${meant}"?`),
    errors: [{ pointer: `#/tasks/1/${name}` }],
  })
})

test('further fields of tasks are ignored, also other names of a field beside the field itself', async () => {
  const server = await runWorkflowServer(answering)
  const further = { task_id: 'b', agent: 'qa', status: 'pending', result: null, error: null, priority: 1, metadata: { x: 1 } }
  const done = await server.run({
    workflow_type: 'graph',
    tasks: [task('a', further), task('b', { depends_on: ['a'], dependencies: [{ own: true }], ...further })],
  })
  expect(done.tasks.map(({ status, depends_on }) => [status, depends_on])).toEqual([
    ['completed', []],
    ['completed', ['a']],
  ])
})

test('other workflows that cannot be kept as they are written are refused with the reason', async () => {
  const server = await runWorkflowServer(answering)
  const refusalOf = async (body: object) => (await server.send('POST', '/run-graph', { body })).json
  expect(await refusalOf({ workflow_type: 'parallel', tasks: [task('a'), task('b', { depends_on: ['a'] })] })).toMatchObject({
    detail: expect.stringContaining('expected no dependencies in a parallel workflow'),
  })
  expect(await refusalOf({ workflow_type: 'sequential', tasks: [task('a', { depends_on: ['b'] }), task('b')] })).toMatchObject({
    detail: expect.stringContaining('expected no cycle'),
  })
  expect(await refusalOf({ workflow_type: 'sequential', tasks: [task('a', { agent_role: 'debuger' })] })).toMatchObject({
    code: 'AGENT_NOT_FOUND',
    detail: expect.stringContaining('tasks[0].agent_role: No agent "debuger" is registered; did you mean "debugger"?'),
  })
  expect(await refusalOf({ workflow_type: 'tree', tasks: [] })).toMatchObject({ status: 422, code: 'INPUT_INVALID' })
  expect(await refusalOf({ workflow_type: 'graph', tasks: [] })).toMatchObject({ status: 422 })
})

test('a role in other capitals means its agent where only one is meant, and is given back as it was', async () => {
  const server = await runWorkflowServer(answering, { agents: { Writer: { system: 'One.' }, writer: { system: 'Two.' } } })
  const done = await server.run({
    workflow_type: 'sequential',
    tasks: [task('one', { agent_role: 'QA' }), task('two', { agent_role: 'Frontend' }), task('three', { agent_role: 'writer' })],
  })
  expect(done.tasks.map(({ agent_role, agent, status }) => [agent_role, agent, status])).toEqual([
    ['QA', 'qa', 'completed'],
    ['Frontend', 'frontend', 'completed'],
    ['writer', 'writer', 'completed'],
  ])
  expect(server.requests.map(({ system }) => system)).toEqual([BUILT_IN_ROLES.qa.system, BUILT_IN_ROLES.frontend.system, 'Two.'])
  const unclear = await server.send('POST', '/run-graph', {
    body: { workflow_type: 'parallel', tasks: [task('one', { agent_role: 'WRITER' })] },
  })
  expect(unclear).toMatchObject({ status: 422, json: { code: 'AGENT_NOT_FOUND' } })
})

test('a server without a key and without the simulator says what a workflow is missing', async () => {
  const { send } = await runServer({ simulator: false, providers: {} })
  const { status, json } = await send('POST', '/run-graph', { body: { workflow_type: 'parallel', tasks: [task('one')] } })
  expect([status, json.code]).toEqual([422, 'FLOW_INVALID'])
  for (const named of ['agent "qa"', 'OPENAI_API_KEY', 'ANTHROPIC_API_KEY', '--simulate']) expect(json.detail).toContain(named)
})

test('any text names a task and is given back as it was', async () => {
  const server = await runWorkflowServer(answering)
  const names = ['__proto__', 'constructor', 'a\nb', '1', 'original', '"} {{ x }}', '💡', 'x'.repeat(200)]
  const done = await server.run({
    workflow_type: 'graph',
    tasks: names.map((name, index) => task(name, { input_data: { task: `Do t${index}` }, depends_on: names.slice(0, index) })),
  })
  expect(done.status).toBe('completed')
  expect(done.tasks.map(({ task_id, agent_id }) => [task_id, agent_id])).toEqual(names.map((name) => [name, name]))
  expect(done.tasks.at(-1)?.depends_on).toEqual(names.slice(0, -1))
})

test('the input of a task is its text, or everything as JSON, and no mark in it is a template', async () => {
  const server = await runWorkflowServer(() => 'ok')
  const hostile = 'a {{ original }} {% if x %} {% endraw %} {%- endraw -%} {% raw %} {'
  await server.run({
    workflow_type: 'sequential',
    tasks: [
      task('a', { input_data: { task: hostile } }),
      task('b', { input_data: { code: 'x = {{ y }}', language: 'vue' } }),
      task('c', { input_data: { task: 'Review', code: 'z' } }),
      task('d', { input_data: { task: { not: 'text' } } }),
    ],
  })
  const sent = server.requests.map(({ messages }) => messages.map(({ content }) => content).join('\n'))
  expect(sent[0]).toBe(hostile)
  expect(sent[1]).toContain('```json\n{\n  "code": "x = {{ y }}",\n  "language": "vue"\n}\n```')
  expect(sent[2]).toMatch(/^Review\n\n```json\n\{\n {2}"code": "z"\n\}\n```/)
  expect(sent[3]).toContain('"not": "text"')
})

test('a task may name its own model, temperature and system prompt', async () => {
  const server = await runWorkflowServer(() => 'ok')
  await server.run({
    workflow_type: 'sequential',
    tasks: [task('a', { llm_model: 'gpt-4o', temperature: 0.7, system_prompt: 'Only {{ this }}.' })],
  })
  expect(server.requests[0]).toMatchObject({ model: 'gpt-4o', system: 'Only {{ this }}.', settings: { temperature: 0.7 } })
})

test('1,000 tasks, an input of 1 MB and a body with __proto__ are refused with clear errors', async () => {
  const server = await runWorkflowServer(() => 'ok')
  const many = Array.from({ length: 1_000 }, (_, index) => task(`t${index}`))
  const refusals = await Promise.all([
    server.send('POST', '/run-graph', { body: { workflow_type: 'parallel', tasks: many } }),
    server.send('POST', '/run-graph', {
      body: { workflow_type: 'parallel', tasks: [task('a', { input_data: { task: 'x'.repeat(1_000_000) } })] },
    }),
    fetch(`${server.url}/run-graph`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"workflow_type":"graph","tasks":[{"agent_id":"a","agent_role":"qa","input_data":{"__proto__":{"x":1}}}]}',
    }).then(async (answer) => ({ status: answer.status, json: await answer.json() })),
  ])
  expect(refusals.map(({ status }) => status)).toEqual([422, 422, 400])
  expect(refusals[0]?.json.detail).toContain('500')
  expect(refusals[1]?.json.detail).toBe('tasks[0].input_data: expected at most 150000 characters, found 1000000')
  expect(server.requests).toEqual([])
})

test('500 tasks in one chain run', async () => {
  const server = await runWorkflowServer(() => 'ok')
  const tasks = Array.from({ length: 500 }, (_, index) => task(`t${index}`, { depends_on: index === 0 ? [] : [`t${index - 1}`] }))
  const done = await server.run({ workflow_type: 'graph', tasks })
  expect(done.status).toBe('completed')
  expect(server.requests).toHaveLength(500)
})

test('a list is an array of the own workflows, newest first, by status and limit', async () => {
  const server = await runWorkflowServer((request) => (textOf(request).includes('Do bad') ? new Error('no') : 'ok'))
  await server.run({ workflow_type: 'parallel', tasks: [task('a')] })
  await server.run({ workflow_type: 'parallel', tasks: [task('a'), task('bad')] })
  await server.run({ workflow_type: 'parallel', tasks: [task('bad')] })
  const list = async (query = ''): Promise<readonly { readonly status: string }[]> =>
    JSON.parse((await server.send('GET', `/workflows${query}`)).text)
  expect((await list()).map(({ status }) => status)).toEqual(['failed', 'partial', 'completed'])
  expect((await list('?limit=2')).map(({ status }) => status)).toEqual(['failed', 'partial'])
  for (const status of ['failed', 'partial', 'completed']) {
    expect((await list(`?status=${status}&limit=10`)).map((one) => one.status)).toEqual([status])
  }
  expect(await list('?status=running')).toEqual([])
  expect((await server.send('GET', '/workflows?limit=0')).status).toBe(422)
})

test('a list reads the results of no more workflows than it shows, whatever their status', async () => {
  const server = await runWorkflowServer((request) => (textOf(request).includes('Do bad') ? new Error('no') : 'ok'))
  const { orchestrator } = server.polyphony
  for (const names of [['a'], ['a', 'bad'], ['bad'], ['a'], ['b'], ['bad', 'b'], ['bad']]) {
    await server.run({ workflow_type: 'parallel', tasks: names.map((name) => task(name)) })
  }
  const getFlow = orchestrator.getFlow.bind(orchestrator)
  let reads = 0
  orchestrator.getFlow = (...given) => {
    reads += 1
    return getFlow(...given)
  }
  const list = async (query: string): Promise<readonly [shown: number, reads: number]> => {
    reads = 0
    const shown = JSON.parse((await server.send('GET', `/workflows${query}`)).text).length
    return [shown, reads]
  }
  expect(await list('?limit=2')).toEqual([2, 2])
  expect(await list('?status=partial')).toEqual([2, 2])
  expect(await list('?status=partial&limit=1')).toEqual([1, 1])
  expect(await list('?status=failed')).toEqual([2, 2])
  expect(await list('?status=completed&limit=2')).toEqual([2, 2])
  expect(await list('?status=running')).toEqual([0, 0])
})

test('deleting needs force while a workflow runs, which cancels it first', async () => {
  const server = await runWorkflowServer(() => ({ chunks: ['…'], hang: true }))
  const { workflow_id: id } = await server.submit({ workflow_type: 'sequential', tasks: [task('a')] })
  const refusedFirst = await server.send('DELETE', `/workflows/${id}`)
  expect(refusedFirst.status).toBe(409)
  expect(refusedFirst.json).toMatchObject({ code: 'FLOW_RUNNING', detail: expect.stringContaining('?force=true') })
  expect((await server.send('GET', '/health')).json).toMatchObject({ status: 'healthy', active_workflows: 1 })
  const deleted = await server.send('DELETE', `/workflows/${id}?force=true`)
  expect(deleted).toMatchObject({ status: 200, json: { workflow_id: id, deleted: true } })
  expect((await server.send('GET', `/status/${id}`)).status).toBe(404)
  expect((await server.send('DELETE', `/workflows/${id}`)).status).toBe(404)
  expect((await server.send('GET', '/api/v1/threads')).json).toMatchObject({ items: [] })
  expect((await server.send('GET', '/health')).json).toMatchObject({ active_workflows: 0 })
})

test('a cancelled workflow says so, with its unfinished tasks', async () => {
  const server = await runWorkflowServer((request) =>
    textOf(request).includes('Do slow') ? { chunks: ['…'], hang: true } : 'ok',
  )
  const { workflow_id: id } = await server.submit({ workflow_type: 'sequential', tasks: [task('slow'), task('next')] })
  await server.send('POST', `/api/v1/flows/${id}/cancel`)
  const shown = await server.ended(id)
  expect(shown.status).toBe('cancelled')
  expect(shown.tasks.map(({ status }) => status)).toEqual(['cancelled', 'cancelled'])
})

test('two clients that submit at the same moment get two workflows, and one idempotency key gets one', async () => {
  const server = await runWorkflowServer(() => 'ok')
  const body = { workflow_type: 'sequential', tasks: [task('a')] }
  const both = await Promise.all([server.submit(body), server.submit(body)])
  expect(new Set(both.map(({ workflow_id: id }) => id)).size).toBe(2)
  const headers = { 'idempotency-key': 'one-workflow' }
  const first = await server.submit(body, { headers })
  expect((await server.submit(body, { headers })).workflow_id).toBe(first.workflow_id)
})

test('a key in X-API-Key is as good as one in Authorization, with the same scopes', async () => {
  const server = await runWorkflowServer(() => 'ok')
  const [full, reading] = [await server.keyOf('ada'), await server.keyOf('ada', ['read'])]
  const body = { workflow_type: 'sequential', tasks: [task('a')] }
  const answers = await Promise.all(
    [full, reading, 'pk_wrong', undefined].map((key) =>
      server.send('POST', '/run-graph', { body, headers: key === undefined ? {} : { 'x-api-key': key } }),
    ),
  )
  expect(answers.map(({ status }) => status)).toEqual([202, 403, 401, 401])
  const id = String(answers[0]?.json.workflow_id)
  expect((await server.send('GET', `/status/${id}`, { headers: { 'x-api-key': reading } })).status).toBe(200)
  const other = await server.keyOf('eve')
  expect((await server.send('GET', `/status/${id}`, { key: other })).status).toBe(404)
  expect((await server.send('GET', '/workflows', { key: other })).text).toBe('[]')
})

test('any other flow is shown as a workflow too, with its steps as tasks', async () => {
  const server = await runWorkflowServer(() => 'ok')
  const { json: thread } = await server.send('POST', '/api/v1/threads')
  const definition = {
    name: 'own',
    type: 'sequential',
    steps: [{ id: 'draft', agent: 'backend', action: 'generate' }],
    input: 'Go',
  }
  const { json: flow } = await server.send('POST', '/api/v1/flows', { body: { threadId: thread.id, definition } })
  expect((await server.send('GET', `/status/${flow.id}`)).json).toMatchObject({
    workflow_type: 'sequential',
    status: 'pending',
    tasks: [{ task_id: 'draft', status: 'pending' }],
  })
})
