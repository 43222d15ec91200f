import { expect, test } from 'vitest'
import { SCOPES } from '../../../src/domain/users/api-key.ts'
import { fetchBait } from '../malformed/addresses.ts'
import { eventsOf } from '../running-server.ts'
import { runProgram, runServiceServer } from './service-server.ts'

const api = '/api/v1/services'

test('a service is listed, read, started, restarted and stopped over HTTP', async () => {
  const { send } = await runServiceServer()
  expect((await send('GET', api)).json).toMatchObject({ items: [{ id: 'local', state: 'idle', driver: 'in_process' }] })
  const started = await send('PUT', `${api}/local/start?wait=10000`)
  expect(started).toMatchObject({ status: 200, json: { state: 'running', since: expect.stringMatching(/Z$/) } })
  expect(await send('PUT', `${api}/local/restart?wait=10000`)).toMatchObject({ status: 200, json: { state: 'running' } })
  expect((await send('GET', `${api}?state=running`)).json).toMatchObject({ items: [{ id: 'local' }] })
  expect((await send('GET', `${api}?type=voice`)).json).toEqual({ items: [] })
  expect(await send('PUT', `${api}/local/stop?wait=10000`)).toMatchObject({ status: 200, json: { state: 'idle' } })
  expect(await send('GET', `${api}/local`)).toMatchObject({ status: 200, json: { id: 'local', state: 'idle' } })
})

test('the newest events about a service are listed, and no others', async () => {
  // Nothing is kept in memory, so that the events can only come from where they are stored.
  const { send, polyphony } = await runServiceServer({ events: { recent: 0 } })
  await polyphony.services.register({ id: 'other', type: 'agent', handlers: {} })
  for (const id of ['local', 'other']) await polyphony.services.start(id)
  const list = async () => (await send('GET', `${api}/local/events`)).json.items
  await expect.poll(async () => JSON.stringify(await list())).toContain('"service_state"')
  expect(JSON.stringify(await list())).not.toContain('"other"')
  expect((await send('GET', `${api}/local/events?limit=1`)).json.items).toHaveLength(1)
})

test('a command that takes longer than its wait is answered with 202, and continues', async () => {
  const { send, polyphony } = await runServiceServer()
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  await polyphony.services.register({ id: 'slow', type: 'agent', handlers: { start: () => released, stop: () => undefined } })
  expect(await send('PUT', `${api}/slow/start`)).toMatchObject({ status: 202, json: { state: 'starting' } })
  release()
  expect(await send('PUT', `${api}/slow/start?wait=10000`)).toMatchObject({ status: 200, json: { state: 'running' } })
})

test('a service that is not known is answered with 404 and a suggestion by every route', async () => {
  const { send } = await runServiceServer()
  const asked = [
    ['GET', `${api}/locl`],
    ['DELETE', `${api}/locl`],
    ['POST', `${api}/locl/heartbeat`],
    ['GET', `${api}/locl/logs`],
    ['GET', `${api}/locl/events`],
    ...['start', 'stop', 'restart'].map((name) => ['PUT', `${api}/locl/${name}`]),
    ['GET', '/api/services/locl'],
    ['GET', '/api/services/locl/logs'],
    ...['start', 'stop', 'restart'].map((name) => ['PUT', `/api/services/locl/${name}`]),
  ] as const
  for (const [method = '', path = ''] of asked) {
    const answer = await send(method, path)
    expect(answer, `${method} ${path}`).toMatchObject({ status: 404, json: { code: 'SERVICE_NOT_FOUND' } })
    expect(answer.json.detail, path).toContain('local')
  }
})

test('a program registers itself: it is probed without a redirect, runs, beats, and nothing of its answers is told', async () => {
  const { send } = await runServiceServer()
  const program = await runProgram()
  const body = { id: 'my-service', type: 'ai-agent', endpoint: program.url, health: { url: `${program.url}/health` } }
  const registered = await send('POST', api, { body })
  expect(registered).toMatchObject({
    status: 201,
    json: { id: 'my-service', type: 'agent', driver: 'remote', state: 'running', probe: { ok: true, detail: 'HTTP 200' } },
  })
  expect(registered.headers.get('location')).toBe(`${api}/my-service`)
  expect(registered.text).not.toContain('body of the probe')
  expect(await send('POST', `${api}/my-service/heartbeat`)).toMatchObject({ status: 200, json: { state: 'running' } })
  expect((await send('POST', api, { body })).status, 'the same program again').toBe(200)
  expect(await send('POST', api, { body: { ...body, endpoint: 'http://127.0.0.1:9' } })).toMatchObject({
    status: 409,
    json: { code: 'SERVICE_EXISTS' },
  })
  expect((await send('DELETE', `${api}/my-service`)).status).toBe(204)
  expect((await send('GET', `${api}/my-service`)).status).toBe(404)
})

test('a probe follows no redirect', async () => {
  const { send } = await runServiceServer()
  const target = await runProgram()
  const redirecting = await runProgram(({ response }) => response.writeHead(302, { location: target.url }).end())
  const body = { id: 'away', endpoint: redirecting.url, health: { url: `${redirecting.url}/health`, startIntervalMs: 20 } }
  expect(await send('POST', api, { body })).toMatchObject({
    status: 201,
    json: { state: 'starting', probe: { ok: false, detail: 'HTTP 302' } },
  })
  expect(target.requests).toEqual([])
})

test('a request that names a program is refused in every spelling, and nothing is registered', async () => {
  const { send } = await runServiceServer()
  const spellings = [
    ...['executable', 'Executable', 'EXECUTABLE', 'exec', 'command', 'cmd', 'program', 'binary', 'script', 'entrypoint'],
    ...['argv', 'args', 'shell', 'cwd', 'working_directory', 'environment', 'env', 'pass_environment', 'start_command'],
    ...[
      'exec_path',
      'executable-path',
      ' executable',
      'ｅｘｅｃｕｔａｂｌｅ',
      'e\u200bxecutable',
      'interpreter',
      'allow_executables',
    ],
  ]
  for (const path of [api, '/api/services']) {
    for (const name of spellings) {
      const body = { id: 'bad', [name]: ['/bin/sh', '-c', 'id'], endpoint: 'http://127.0.0.1:9' }
      expect(await send('POST', path, { body }), `${path} ${name}`).toMatchObject({
        status: 403,
        json: { code: 'SERVICE_EXECUTABLE_REFUSED' },
      })
    }
    const nested = { id: 'bad', endpoint: 'http://127.0.0.1:9', health: { command: 'id' } }
    expect((await send('POST', path, { body: nested })).status, `${path} nested`).toBe(403)
  }
  expect((await send('GET', api)).json).toMatchObject({ items: [{ id: 'local' }] })
})

test('no address of another machine is registered or probed, in any spelling', async () => {
  const { send } = await runServiceServer()
  const bait = await runProgram()
  const elsewhere = [
    ...[
      '169.254.169.254',
      '[fd00:ec2::254]',
      'metadata.google.internal',
      '10.0.0.1',
      '192.168.1.1',
      '0.0.0.0',
      '[::]',
      '8.8.8.8',
    ],
    ...['0xa9fea9fe', '2852039166', '169.254.169.254.nip.io', '[::ffff:169.254.169.254]', 'localhost.evil.example'],
  ].flatMap((host) => [`http://${host}/latest`, `https://${host}:8443/`])
  const others = fetchBait(Number(new URL(bait.url).port)).filter((address) => !isOfThisMachine(address))
  for (const address of [...elsewhere, ...others]) {
    for (const body of [
      { id: 'bad', endpoint: address },
      { id: 'bad', endpoint: 'http://127.0.0.1:9', health: { url: address } },
    ]) {
      const answer = await send('POST', api, { body })
      expect([403, 422], `${address}: ${answer.text}`).toContain(answer.status)
    }
    const seed = { id: 'bad', health_endpoint: address, api_endpoint: address }
    expect([403, 422], address).toContain((await send('POST', '/api/services', { body: seed })).status)
  }
  expect(bait.requests).toEqual([])
  expect((await send('GET', api)).json).toMatchObject({ items: [{ id: 'local' }] })
})

/** Services of this machine may be registered, so only addresses that a URL parser reads as another one are refused. */
const isOfThisMachine = (address: string): boolean => {
  if (!/^https?:\/\/[^\s]+$/i.test(address) || !URL.canParse(address)) return false
  const { hostname, username, protocol } = new URL(address)
  return /^https?:$/.test(protocol) && username === '' && /^(127\.|\[::1\]|\[::ffff:7f|(.+\.)?localhost\.?$)/.test(hostname)
}

test('every route needs the scope operate, which a key of a user does not have', async () => {
  const { send, keyOf } = await runServiceServer()
  const user = await keyOf('ada')
  const operator = await keyOf('olga', SCOPES)
  for (const [method, path] of [
    ['GET', api],
    ['GET', `${api}/local`],
    ['POST', api],
    ['DELETE', `${api}/local`],
    ['POST', `${api}/local/heartbeat`],
    ['PUT', `${api}/local/start`],
    ['GET', `${api}/local/logs`],
    ['POST', `${api}/reload`],
    ['GET', '/api/v1/pools'],
    ['GET', '/api/v1/system'],
    ['GET', '/api/services'],
    ['PUT', '/api/services/local/stop'],
  ] as const) {
    expect((await send(method, path)).status, `nobody ${method} ${path}`).toBe(401)
    expect((await send(method, path, { key: user })).status, `a user ${method} ${path}`).toBe(403)
  }
  expect((await send('GET', api, { key: operator })).status).toBe(200)
})

test('the pools and the server process are reported to operators', async () => {
  const { send } = await runServiceServer({
    pools: { writers: { members: [{ model: 'openai/a' }, { model: 'anthropic/b', tier: 2 }] } },
  })
  expect((await send('GET', '/api/v1/pools')).json).toEqual({
    items: [
      {
        name: 'writers',
        strategy: 'performance_based',
        members: [
          { model: 'openai/a', weight: 1, tier: 1 },
          { model: 'anthropic/b', weight: 1, tier: 2 },
        ],
      },
    ],
  })
  expect((await send('GET', '/api/v1/system')).json).toMatchObject({
    pid: process.pid,
    services: { total: 1, byState: { idle: 1 } },
  })
})

test('the log of a service without a process is empty, as text and as events', async () => {
  const { send } = await runServiceServer()
  expect(await send('GET', `${api}/local/logs`)).toMatchObject({ status: 200, text: '' })
  const events = await send('GET', `${api}/local/logs?follow=true`, { headers: { accept: 'text/event-stream' } })
  expect(events.headers.get('content-type')).toContain('text/event-stream')
  expect(eventsOf(events.text)).toEqual([])
})
