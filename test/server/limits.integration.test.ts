import { expect, test } from 'vitest'
import { runServer } from './running-server.ts'

test('a key that exceeds its rate has to wait and does not slow down other keys', async () => {
  const { send, keyOf } = await runServer({ server: { requestsPerMinute: 3 } })
  const [ada, bob] = [await keyOf('ada'), await keyOf('bob')]
  const statuses = []
  for (let request = 0; request < 5; request++) statuses.push((await send('GET', '/api/v1/me', { key: ada })).status)
  expect(statuses).toEqual([200, 200, 200, 429, 429])
  const refused = await send('GET', '/api/v1/me', { key: ada })
  expect(refused.json).toMatchObject({ code: 'RATE_LIMITED', retryable: true })
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
  expect((await send('GET', '/api/v1/me', { key: bob })).status).toBe(200)
})

test('failed authentications are counted by address, and do not slow down a valid key', async () => {
  const { send, keyOf } = await runServer({ server: { requestsPerMinute: 3 } })
  const ada = await keyOf('ada')
  const statuses = []
  for (let request = 0; request < 5; request++) {
    statuses.push((await send('GET', '/api/v1/me', { key: 'pk_unknown' })).status)
  }
  expect(statuses).toEqual([401, 401, 401, 429, 429])
  const refused = await send('GET', '/api/v1/me', { key: 'pk_unknown' })
  expect(refused.json).toMatchObject({ code: 'RATE_LIMITED' })
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(1)
  expect((await send('GET', '/api/v1/me', { key: ada })).status).toBe(200)
})

test('health requests are not rate-limited', async () => {
  const { send } = await runServer({ server: { requestsPerMinute: 1 } })
  for (let request = 0; request < 5; request++) expect((await send('GET', '/livez')).status).toBe(200)
})

test('a body that is too large or not JSON is refused before it is read', async () => {
  const { url, send } = await runServer({ server: { bodyLimitBytes: 1_000 } })
  const large = await send('POST', '/api/v1/threads', { body: { title: 'x'.repeat(2_000) } })
  expect([large.status, large.json.code]).toEqual([413, 'REQUEST_TOO_LARGE'])
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'text/json']) {
    const answer = await fetch(`${url}/api/v1/threads`, { method: 'POST', headers: { 'content-type': type }, body: '{}' })
    expect([type, answer.status]).toEqual([type, 415])
  }
  expect((await send('GET', '/api/v1/threads')).json.items).toEqual([])
})

test('an error has a code, a pointer, a remedy and the id of its request', async () => {
  const { send } = await runServer()
  const thread = (await send('POST', '/api/v1/threads')).json
  const definition = {
    name: 'x',
    type: 'sequential',
    steps: [{ id: 'a', model: 'openai/gpt-6-sol', action: 'generate', inputFrom: 'b' }],
  }
  const answer = await send('POST', '/api/v1/flows', {
    body: { threadId: thread.id, definition },
    headers: { 'x-request-id': 'my-request.1' },
  })
  expect(answer.status).toBe(422)
  expect(answer.headers.get('content-type')).toContain('application/problem+json')
  expect(answer.headers.get('x-request-id')).toBe('my-request.1')
  expect(answer.json).toMatchObject({
    type: 'urn:polyphony:problem:FLOW_INVALID',
    code: 'FLOW_INVALID',
    pointer: '#/definition/steps/0/inputFrom',
    remedy: expect.any(String),
    requestId: 'my-request.1',
    instance: '/api/v1/flows',
  })
})
