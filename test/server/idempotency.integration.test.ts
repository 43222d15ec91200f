import { expect, onTestFinished, test } from 'vitest'
import { openTestPostgres } from '../support/postgres.ts'
import { runServer } from './running-server.ts'

const withKey = (key: string, body?: unknown) => ({ body, headers: { 'idempotency-key': key } })

test('a request with the same key is processed once and gets the same answer from any process', async () => {
  const { url, drop } = await openTestPostgres()
  onTestFinished(drop)
  const [first, second] = [await runServer({ database: url }), await runServer({ database: url })]
  const made = await first.send('POST', '/api/v1/threads', withKey('k', { title: 'one' }))
  const again = await second.send('POST', '/api/v1/threads', withKey('k', { title: 'one' }))
  expect(made.status).toBe(201)
  expect(again.status).toBe(201)
  expect(again.text).toBe(made.text)
  expect(again.headers.get('location')).toBe(made.headers.get('location'))
  expect([made, again].map(({ headers }) => headers.get('idempotency-replayed'))).toEqual([null, 'true'])
  expect((await first.send('GET', '/api/v1/threads')).json.items).toHaveLength(1)
})

test('of many concurrent requests with one key one is processed, and the others get 409 or its answer', async () => {
  const { send } = await runServer()
  const answers = await Promise.all(Array.from({ length: 20 }, () => send('POST', '/api/v1/threads', withKey('k'))))
  expect((await send('GET', '/api/v1/threads')).json.items).toHaveLength(1)
  const done = answers.filter(({ status }) => status === 201)
  expect(new Set(done.map(({ text }) => text)).size).toBe(1)
  for (const { status, json } of answers) if (status !== 201) expect([status, json.code]).toEqual([409, 'REQUEST_IN_PROGRESS'])
})

test('another request with a used idempotency key is refused', async () => {
  const { send } = await runServer()
  await send('POST', '/api/v1/threads', withKey('k', { title: 'one' }))
  const other = await send('POST', '/api/v1/threads', withKey('k', { title: 'two' }))
  expect([other.status, other.json.code]).toEqual([422, 'IDEMPOTENCY_KEY_REUSED'])
})

test('a failed request with an idempotency key is processed again', async () => {
  const { send } = await runServer()
  const refused = await send('POST', '/api/v1/flows', withKey('k', { threadId: 'none', template: 'critique' }))
  expect(refused.json.code).toBe('THREAD_NOT_FOUND')
  const again = await send('POST', '/api/v1/flows', withKey('k', { threadId: 'none', template: 'critique' }))
  expect(again.json.code).toBe('THREAD_NOT_FOUND')
  expect(again.headers.get('idempotency-replayed')).toBeNull()
})

test('executing twice with one key spends money once', async () => {
  const { send, polyphony } = await runServer()
  const thread = (await send('POST', '/api/v1/threads')).json
  const body = { threadId: thread.id, template: 'refinement', parameters: { maxIterations: 1 } }
  const { id } = (await send('POST', '/api/v1/flows', { body })).json
  const execute = () => send('POST', `/api/v1/flows/${id}/execute?wait=20000`, withKey('run', { input: 'a slogan' }))
  const [ended, again] = [await execute(), await execute()]
  expect(ended.json.status).toBe('COMPLETED')
  expect(again.text).toBe(ended.text)
  const flow = await polyphony.orchestrator.getFlow(String(id), 'local')
  const attempts = flow.stepResults.flatMap((step) => step.attempts)
  expect(attempts).toHaveLength(flow.stepResults.length)
})

test('an invalid idempotency key is refused with the name of the header', async () => {
  const { send } = await runServer()
  const { json } = await send('POST', '/api/v1/threads', withKey('a key with spaces'))
  expect(json).toMatchObject({ code: 'INPUT_INVALID', detail: expect.stringContaining('Idempotency-Key') })
})
