// S3-01: the health of the service has its status, its work and the time
// S3-02: a submitted block is answered at once, with every field that it names
// S3-03: a submitted block is answered at once, with every field that it names
// S3-04: a submitted block is answered at once, with every field that it names
// S3-05: a submitted block is answered at once, with every field that it names
// S3-06: a submitted block is answered at once, with every field that it names
// S3-07: a submitted block is answered at once, with every field that it names
// S3-08: a submitted block is answered at once, with every field that it names
// S3-09: a submitted block is answered at once, with every field that it names
// S3-10: the status has the result of every task under both of its names
// S3-11: a list is an array of the workflows of a status
// S3-12: a deleted workflow is gone
// S3-13: the three types run in the order that the description gives
// S3-14: the three types run in the order that the description gives
// S3-15: the three types run in the order that the description gives
// S3-16: the status has the result of every task under both of its names
// S3-46: what one server starts, another over the same database shows and goes on showing
// S3-47: what one server starts, another over the same database shows and goes on showing
// S3-48: the interactive documentation has every route of the service
// S3-49: the interactive documentation has every route of the service

import { execFile, spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { runWorkflowServer, textOf } from '../server/swarm/workflow-server.ts'
import { CURL, CURL_STATUS, DELETE, HEALTH, LIST, STATUS, SUBMIT, sendSeedBlock, TYPES } from './s3-blocks.ts'

const hasCurl = spawnSync('curl', ['--version']).status === 0

test('the health of the service has its status, its work and the time', async () => {
  const { url } = await runWorkflowServer(() => 'ok')
  expect(await sendSeedBlock(HEALTH, url)).toEqual({
    status: 200,
    body: expect.objectContaining({
      status: 'healthy',
      service: 'polyphony',
      active_workflows: 0,
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      database: 'up',
      version: expect.any(String),
    }),
  })
})

test('a submitted block is answered at once, with every field that it names', async () => {
  const server = await runWorkflowServer(() => ({ chunks: ['…'], hang: true }))
  const { status, body } = await sendSeedBlock(SUBMIT, server.url)
  expect(status).toBe(202)
  expect(body).toMatchObject({
    workflow_id: expect.any(String),
    workflow_type: 'sequential',
    status: 'pending',
    created_at: expect.any(String),
    tasks: [{ agent_id: 'task-1', agent_role: 'frontend', depends_on: [] }],
    metadata: {},
  })
})

test('the status has the result of every task under both of its names', async () => {
  const server = await runWorkflowServer(() => 'a form')
  const { body } = await sendSeedBlock(SUBMIT, server.url)
  const id = String(Object(body).workflow_id)
  await server.ended(id)
  const { body: shown } = await sendSeedBlock(STATUS, server.url, id)
  expect(shown).toMatchObject({
    workflow_id: id,
    status: 'completed',
    tasks: [{ task_id: 'task-1', agent_id: 'task-1', agent: 'frontend', status: 'completed', result: { output: 'a form' } }],
  })
  expect(server.requests.map(textOf)[0]).toContain('Create a login form component')
})

test('a list is an array of the workflows of a status', async () => {
  const server = await runWorkflowServer(() => 'ok')
  const { workflow_id: id } = await server.run(JSON.parse(SUBMIT.slice(SUBMIT.indexOf('{'))))
  expect((await sendSeedBlock(LIST, server.url)).body).toMatchObject([{ workflow_id: id, status: 'completed' }])
})

test('a deleted workflow is gone', async () => {
  const server = await runWorkflowServer(() => 'ok')
  const { workflow_id: id } = await server.run(JSON.parse(SUBMIT.slice(SUBMIT.indexOf('{'))))
  expect((await sendSeedBlock(DELETE, server.url, id)).status).toBe(200)
  expect((await sendSeedBlock(STATUS, server.url, id)).status).toBe(404)
  expect((await sendSeedBlock(LIST, server.url)).body).toEqual([])
})

test('the three types run in the order that the description gives', async () => {
  const server = await runWorkflowServer((request) => `answer ${/"task": "(\d)"|Task (\d)/.exec(textOf(request))?.[2]}`)
  const run = async (type: keyof typeof TYPES) => {
    const body = JSON.parse(TYPES[type].replaceAll(', ...', ''))
    const tasks = body.tasks.map((task: object, index: number) => ({ ...task, input_data: { task: `Task ${index + 1}` } }))
    const before = server.requests.length
    const done = await server.run({ ...body, tasks })
    expect(done.status, type).toBe('completed')
    return server.requests.slice(before).map(textOf)
  }
  const sequence = await run('sequential')
  expect(sequence.map((text) => /Task (\d)/.exec(text)?.[1])).toEqual(['1', '2', '3'])
  expect(sequence[2]).toContain('answer 2')
  expect((await run('parallel')).every((text) => !text.includes('answer'))).toBe(true)
  const graph = await run('graph')
  expect(
    graph
      .slice(0, 2)
      .map((text) => /Task (\d)/.exec(text)?.[1])
      .sort(),
  ).toEqual(['1', '2'])
  expect(graph[2]).toMatch(/Task 3.*answer 1.*answer 2/s)
  expect(graph[3]).toMatch(/Task 4.*answer 3/s)
})

test.skipIf(!hasCurl)('the commands of curl work as they are written (skipped where curl is missing)', async () => {
  const server = await runWorkflowServer(() => 'ok')
  const shell = async (command: string) => {
    const { stdout } = await promisify(execFile)('bash', ['-c', command.replaceAll('http://localhost:8000', server.url)])
    return JSON.parse(stdout)
  }
  const { workflow_id: id } = await shell(CURL)
  await server.ended(id)
  expect(await shell(CURL_STATUS.replace('<workflow-id>', id))).toMatchObject({ workflow_id: id, status: 'completed' })
})

test('what one server starts, another over the same database shows and goes on showing', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'polyphony-workflows-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  const database = `pglite://${join(directory, 'data')}`
  const first = await runWorkflowServer(() => 'kept', { database })
  const before = await first.run({
    workflow_type: 'graph',
    tasks: [{ agent_id: 'any name\n', agent_role: 'qa', input_data: { task: 'x' } }],
    metadata: { ticket: 7 },
  })
  await first.close()
  const second = await runWorkflowServer(() => 'new', { database })
  expect(await second.ended(before.workflow_id)).toEqual(before)
  expect(before).toMatchObject({ metadata: { ticket: 7 }, tasks: [{ agent_id: 'any name\n', agent: 'qa' }] })
})

test('the interactive documentation has every route of the service', async () => {
  const { send } = await runWorkflowServer(() => 'ok')
  expect((await send('GET', '/docs')).headers.get('content-type')).toContain('text/html')
  const moved = await send('GET', '/redoc')
  expect([moved.status, moved.headers.get('location')]).toEqual([308, '/docs'])
  const { paths } = (await send('GET', '/openapi.json')).json
  expect(Object.keys(Object(paths))).toEqual(
    expect.arrayContaining(['/run-graph', '/status/{workflowId}', '/workflows', '/workflows/{workflowId}', '/health']),
  )
})
