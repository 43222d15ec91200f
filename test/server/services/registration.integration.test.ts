import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { createControlToken } from '../../../src/system/server-file.ts'
import { runProgram, runServiceServer } from './service-server.ts'

const api = '/api/v1/services'

test('a token of a run or of a server that has ended is refused where every other key is ignored', async () => {
  const { send } = await runServiceServer()
  for (const key of [randomUUID(), randomUUID().toUpperCase(), createControlToken()]) {
    for (const [name, value] of [
      ['authorization', `Bearer ${key}`],
      ['x-api-key', key],
    ] as const) {
      const headers = { [name]: value }
      expect(await send('GET', '/api/v1/threads', { headers }), key).toMatchObject({ status: 401 })
      const answer = await send('POST', `${api}/local/heartbeat`, { headers })
      expect(answer, key).toMatchObject({ status: 401, json: { code: 'UNAUTHENTICATED' } })
    }
  }
  expect((await send('GET', '/api/v1/threads', { key: 'sk-invented' })).status).toBe(200)
})

test('where registration is off, no program registers itself on any route', async () => {
  const { send } = await runServiceServer({ services: { registration: 'off' } })
  const program = await runProgram()
  const bodies = {
    [api]: { id: 'new', endpoint: program.url },
    '/api/services': { id: 'new', api_endpoint: program.url, health_endpoint: program.url },
  }
  for (const [path, body] of Object.entries(bodies)) {
    const answer = await send('POST', path, { body })
    expect(answer, path).toMatchObject({ status: 403, json: { code: 'PERMISSION_DENIED' } })
    expect(answer.text).toContain('services.registration')
  }
  expect((await send('GET', api)).json).toMatchObject({ items: [{ id: 'local' }] })
  expect(program.requests).toEqual([])
})

test('at most services.registration.max programs are registered, however many ask at once', async () => {
  const { send } = await runServiceServer({ services: { registration: { max: 5 } } })
  const { url } = await runProgram()
  const register = (id: string) => send('POST', api, { body: { id, endpoint: url } })
  const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => register(`flood-${index}`)))
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(5)
  const refused = answers.filter(({ status }) => status !== 201)
  for (const answer of refused) expect(answer).toMatchObject({ status: 409, json: { code: 'SERVICE_LIMIT_REACHED' } })
  const [first] = answers.filter(({ status }) => status === 201)
  expect((await register(String(first?.json.id))).status, 'a program that is registered').toBe(200)
  expect((await send('DELETE', `${api}/${first?.json.id}`)).status).toBe(204)
  expect((await register('later')).status).toBe(201)
})

test('a program without a health address repeats its heartbeat within the configured time', async () => {
  const { send } = await runServiceServer({ services: { registration: { leaseMs: 50 } } })
  const { url } = await runProgram()
  await send('POST', api, { body: { id: 'silent', endpoint: url } })
  await send('POST', api, { body: { id: 'patient', endpoint: url, leaseMs: 3_600_000 } })
  await send('POST', api, { body: { id: 'probed', endpoint: url, health: { url } } })
  const stateOf = async (id: string) => (await send('GET', `${api}/${id}`)).json.state
  await expect.poll(() => stateOf('silent'), { timeout: 30_000 }).not.toBe('running')
  expect([await stateOf('patient'), await stateOf('probed')]).toEqual(['running', 'running'])
})

test('a program asks to be probed no more often than the bounds of registrations allow, and is told which one it broke', async () => {
  const { send } = await runServiceServer()
  const { url, requests } = await runProgram()
  for (const [name, leastMs] of Object.entries({ intervalMs: 100, retryIntervalMs: 100, startIntervalMs: 20 })) {
    for (const value of [1, leastMs - 1]) {
      const answer = await send('POST', api, { body: { id: 'eager', endpoint: url, health: { url, [name]: value } } })
      const json = { code: 'INPUT_INVALID', pointer: `#/health/${name}`, detail: expect.stringContaining(String(leastMs)) }
      expect(answer, `${name} ${value}`).toMatchObject({ status: 422, json })
    }
  }
  expect(requests).toEqual([])
  const least = { intervalMs: 100, retryIntervalMs: 100, startIntervalMs: 20 }
  const answer = await send('POST', api, { body: { id: 'eager', endpoint: url, health: { url, ...least } } })
  expect(answer).toMatchObject({ status: 201, json: { id: 'eager', driver: 'remote' } })
})
