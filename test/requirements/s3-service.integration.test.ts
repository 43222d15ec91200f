// S3-32: the variables of the service configure the server, and doctor names them
// S3-33: the variables of the service configure the server, and doctor names them
// S3-34: the variables of the service configure the server, and doctor names them
// S3-35: a key of OpenAI alone is enough for every role
// S3-36: a further key configures its provider, and is not needed
// S3-37: a further key configures its provider, and is not needed
// S3-38: the variables of the service configure the server, and doctor names them
// S3-39: the variables of the service configure the server, and doctor names them
// S3-40: the variables of the service configure the server, and doctor names them
// S3-41: the key of the configuration opens the server, and no other does
// S3-42: the variables of the service configure the server, and doctor names them
// S3-43: the example of the environment names every variable of the service
// S3-44: the image starts the server under an init process
// S3-45: two servers over one database run and show the same workflows
// S3-51: the work is visible as a flow with live updates to every other part of the API
// S3-52: templates whose agents reflect on their drafts are at hand, and threads keep what was said
// S3-53: templates whose agents reflect on their drafts are at hand, and threads keep what was said
// S3-54: the work is visible as a flow with live updates to every other part of the API

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { describeSources, loadConfig } from '../../src/config/config.ts'
import { runServer } from '../server/running-server.ts'
import { connect } from '../server/socket-client.ts'
import { runWorkflowServer, task } from '../server/swarm/workflow-server.ts'
import { chatWire } from '../support/openai-wires.ts'
import { openTestPostgres } from '../support/postgres.ts'
import { ROOT } from '../support/run-block.ts'
import { createVendorServer } from '../support/vendor-server.ts'

const load = (env: Record<string, string>) => loadConfig({}, { env, cwd: '/nonexistent' })
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')

const VARIABLES = {
  ORCHESTRATOR_HOST: '127.0.0.2',
  ORCHESTRATOR_PORT: '8000',
  ORCHESTRATOR_WORKERS: '4',
  OPENAI_API_KEY: 'sk-xxx',
  ANTHROPIC_API_KEY: 'sk-ant-xxx',
  GROK_API_KEY: 'xai-xxx',
  REDIS_URL: 'redis://localhost:6379/0',
  LOG_LEVEL: 'WARNING',
  API_KEY: 'your-secret-api-key',
  CORS_ORIGINS: 'http://localhost:3000',
}

test('the variables of the service configure the server, and doctor names them', async () => {
  const config = await load({ ...VARIABLES, ENABLE_DEBUG: 'false' })
  expect(config).toMatchObject({
    server: { host: '127.0.0.2', port: 8_000, apiKey: 'your-secret-api-key', corsOrigins: ['http://localhost:3000'] },
    bullmq: { concurrency: 4 },
    redisUrl: 'redis://localhost:6379/0',
    logLevel: 'warn',
  })
  const shown = describeSources(config)
  expect(shown).toEqual(
    expect.arrayContaining([
      { key: 'server.host', value: '127.0.0.2', source: 'ORCHESTRATOR_HOST' },
      { key: 'server.port', value: '8000', source: 'ORCHESTRATOR_PORT' },
      { key: 'server.apiKey', value: 'set', source: 'API_KEY' },
      { key: 'providers.xai.apiKey', value: 'set', source: 'GROK_API_KEY' },
    ]),
  )
  expect(JSON.stringify(shown)).not.toContain('your-secret')
  expect((await load({ ENABLE_DEBUG: 'true', LOG_LEVEL: 'INFO' })).logLevel).toBe('debug')
  const both = await load({ ...VARIABLES, POLYPHONY_HOST: '127.0.0.3', POLYPHONY_PORT: '1', XAI_API_KEY: 'own' })
  expect(both).toMatchObject({ server: { host: '127.0.0.3', port: 1 }, providers: { xai: { apiKey: 'own' } } })
  await expect(load({ API_KEY: 'short' })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.not.stringContaining('short'),
  })
})

test('a key of OpenAI alone is enough for every role', async () => {
  const vendor = await createVendorServer()
  onTestFinished(vendor.close)
  vendor.answer(chatWire.streamed(['done by ', 'the vendor']))
  const { providers } = await load({ OPENAI_API_KEY: 'sk-test', OPENAI_BASE_URL: `${vendor.url}/v1` })
  const server = await runWorkflowServer(() => 'not asked', { providers })
  const roles = ['frontend', 'backend', 'qa', 'debugger', 'coordinator']
  const tasks = roles.map((role) => task(role, { agent_role: role }))
  const done = await server.run({ workflow_type: 'parallel', tasks })
  expect(done.tasks.map(({ result }) => result?.output)).toEqual(roles.map(() => 'done by the vendor'))
  expect(vendor.requests.map(({ body }) => Object(body).model)).toEqual(roles.map(() => 'gpt-6-sol'))
})

test('a further key configures its provider, and is not needed', async () => {
  const { providers } = await load(VARIABLES)
  expect(Object.keys(providers).sort()).toEqual(['anthropic', 'openai', 'xai'])
})

test('the key of the configuration opens the server, and no other does', async () => {
  const exposed = { allowedHosts: ['flows.example.com'] }
  await expect(runServer({ server: exposed })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  const { send } = await runServer({ server: { ...exposed, apiKey: 'your-secret-api-key' } })
  const statusOf = async (headers: Record<string, string>) => (await send('GET', '/workflows', { headers })).status
  expect(await statusOf({ 'x-api-key': 'your-secret-api-key' })).toBe(200)
  expect(await statusOf({ authorization: 'Bearer your-secret-api-key' })).toBe(200)
  expect(await statusOf({ 'x-api-key': 'your-secret-api-kex' })).toBe(401)
  expect(await statusOf({})).toBe(401)
})

test('the example of the environment names every variable of the service', () => {
  const example = read('.env.example')
  for (const name of [...Object.keys(VARIABLES), 'ENABLE_DEBUG']) expect(example, name).toMatch(new RegExp(`\\b${name}\\b`))
})

test('the image starts the server under an init process', () => {
  expect(read('Dockerfile')).toMatch(/^ENTRYPOINT \["tini", "--", /m)
  expect(read('compose.yaml')).toMatch(/^ +init: true$/m)
})

test('two servers over one database run and show the same workflows', async () => {
  const { url: database, drop } = await openTestPostgres()
  const [one, two] = [
    await runWorkflowServer(() => 'of one', { database }),
    await runWorkflowServer(() => 'of two', { database }),
  ]
  const body = { workflow_type: 'parallel', tasks: [task('a')] }
  const [first, second] = await Promise.all([one.run(body), two.run(body)])
  expect((await two.send('GET', `/status/${first?.workflow_id}`)).json).toMatchObject({
    tasks: [{ result: { output: 'of one' } }],
  })
  expect(JSON.parse((await one.send('GET', '/workflows')).text)).toHaveLength(2)
  expect((await one.send('GET', `/status/${second?.workflow_id}`)).json).toMatchObject({ status: 'completed' })
  await Promise.all([one.close(), two.close()])
  await drop()
})

test('the work is visible as a flow with live updates to every other part of the API', async () => {
  const server = await runWorkflowServer(() => ({ chunks: ['live ', 'text'] }))
  const { workflow_id: flowId } = await server.submit({ workflow_type: 'sequential', tasks: [task('a')] })
  const client = await connect(server.url)
  client.send({ type: 'subscribe', flowId })
  await client.next(({ type }) => type === 'end')
  expect(client.frames.map(({ type }) => type)).toEqual(expect.arrayContaining(['step_progress', 'flow_complete']))
  expect((await server.send('GET', `/api/v1/flows/${flowId}`)).json).toMatchObject({
    status: 'COMPLETED',
    result: { finalOutput: 'live text' },
  })
})

test('templates whose agents reflect on their drafts are at hand, and threads keep what was said', async () => {
  const { send } = await runWorkflowServer(() => 'ok')
  const names = JSON.stringify((await send('GET', '/api/v1/templates')).json)
  for (const name of ['critique', 'refinement', 'research']) expect(names).toContain(`"${name}"`)
  const { json: thread } = await send('POST', '/api/v1/threads')
  await send('POST', `/api/v1/threads/${thread.id}/messages`, { body: { role: 'user', content: 'Remember me' } })
  expect((await send('GET', `/api/v1/threads/${thread.id}/messages`)).text).toContain('Remember me')
})
