import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import express from 'express'
import { expect, onTestFinished, test } from 'vitest'
import type { PolyphonyConfigInput } from '../../../src/config/config.ts'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { type MountedPolyphony, type MountOptions, mountPolyphony } from '../../../src/server/main.ts'
import { openTestPolyphony } from '../../support/polyphony.ts'
import { eventsOf, send } from '../running-server.ts'
import { listen } from './mounted-app.ts'

async function mount(options: MountOptions = {}, config: PolyphonyConfigInput = {}) {
  const polyphony = await openTestPolyphony({ simulator: true, ...config })
  onTestFinished(() => polyphony.close())
  const mounted = await mountPolyphony(polyphony, { auth: 'local', ...options })
  onTestFinished(() => mounted.close())
  return { polyphony, mounted }
}

const serve = (mounted: MountedPolyphony, listener: RequestListener = mounted.handler) =>
  listen(createServer(listener), () => mounted.close())

test('a listener of node:http serves the prefix, and names it in addresses and problems', async () => {
  const { mounted } = await mount({ prefix: '/app/ai/' })
  const url = await serve(mounted)
  const created = await send(url, 'POST', '/app/ai/api/v1/threads?x=1')
  expect([created.status, created.headers.get('location')]).toEqual([201, `/app/ai/api/v1/threads/${created.json.id}`])
  expect((await send(url, 'GET', String(created.headers.get('location')))).json).toEqual(created.json)
  expect((await send(url, 'GET', '/app/ai/docs/static/index.html')).headers.get('location')).toBe('/app/ai/docs/')
  expect((await send(url, 'GET', '/app/ai/v1/nothing')).json.error).toMatchObject({ code: 'unknown_url' })
  for (const path of ['/', '/app', '/app/ainu/api/v1/me', '/api/v1/me', '/APP/AI/api/v1/me']) {
    const answer = await send(url, 'GET', path)
    expect([path, answer.status, answer.json.code, answer.json.instance]).toEqual([path, 404, 'ROUTE_NOT_FOUND', path])
  }
  expect((await send(url, 'GET', '/app/ai')).json).toMatchObject({ code: 'ROUTE_NOT_FOUND', instance: '/app/ai/' })
})

test('the root is a prefix too, and what is no path is refused', async () => {
  const { mounted, polyphony } = await mount({ prefix: '/' })
  const url = await serve(mounted)
  expect((await send(url, 'GET', '/api/v1/me')).status).toBe(200)
  expect((await send(url, 'GET', '/openapi.json')).json.servers).toEqual([{ url: '/' }])
  for (const prefix of ['polyphony', '/a b', '/a?b', '//a', 'http://host/x', '/{tenant}']) {
    await expect(mountPolyphony(polyphony, { prefix }), prefix).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  }
})

test('links follow the public address, with its own path or that of the prefix', async () => {
  for (const [publicUrl, base, path] of [
    ['http://localhost:9/', 'http://localhost:9/polyphony', '/polyphony'],
    ['http://localhost:9/behind/proxy/', 'http://localhost:9/behind/proxy', '/behind/proxy'],
  ] as const) {
    const { mounted } = await mount({}, { server: { publicUrl } })
    const url = await serve(mounted)
    expect((await send(url, 'GET', '/polyphony/openapi.json')).json.servers).toEqual([{ url: base }])
    const created = await send(url, 'POST', '/polyphony/api/v1/threads')
    expect(created.headers.get('location')).toBe(`${path}/api/v1/threads/${created.json.id}`)
  }
})

test('requests outside the prefix go on to the app, and its logs find the address that it knows', async () => {
  const { mounted } = await mount()
  const app = express()
  const seen: string[] = []
  app.use((request, response, next) => {
    response.on('close', () => seen.push(request.url))
    next()
  })
  app.use(mounted.handler)
  app.get('/polyphonic', (_, response) => void response.send('another route'))
  app.use('/elsewhere', mounted.handler)
  const url = await serve(mounted, app)
  expect((await send(url, 'GET', '/polyphonic')).text).toBe('another route')
  expect((await send(url, 'GET', '/polyphony/livez?a=1')).status).toBe(200)
  // Middleware under another path than the prefix would never answer: that is said instead of a bare 404.
  const misplaced = await send(url, 'GET', '/elsewhere/api/v1/me')
  expect([misplaced.status, misplaced.json.detail]).toEqual([404, expect.stringContaining('`prefix`')])
  expect(seen).toEqual(['/polyphonic', '/polyphony/livez?a=1', '/api/v1/me'])
})

test('a body that the app has parsed, read as text or kept as bytes is the body of the request', async () => {
  const { mounted } = await mount({}, { server: { bodyLimitBytes: 1_000 } })
  const type = () => true
  for (const parser of [express.json(), express.text({ type }), express.raw({ type })]) {
    const app = express()
    app.use(parser)
    app.use('/polyphony', mounted.handler)
    const url = await serve(mounted, app)
    const create = (text: string, headers = {}) =>
      fetch(`${url}/polyphony/api/v1/threads`, {
        method: 'POST',
        body: text,
        headers: { 'content-type': 'application/json', ...headers },
      })
    const created = await create('{   "title":\n\n "ünïcode" }')
    expect([created.status, await created.json()]).toEqual([201, expect.objectContaining({ title: 'ünïcode' })])
    expect((await create('{ "title": 7 }')).status).toBe(422)
    expect((await create(JSON.stringify({ title: 'x'.repeat(2_000) }))).status).toBe(413)
    expect((await create('{ "__proto__": { "title": "x" } }')).status).toBe(400)
    expect((await send(url, 'POST', '/polyphony/api/v1/threads')).status).toBe(201)
  }
})

test('a body that somebody read and did not keep is an error that says so', async () => {
  const { mounted } = await mount()
  const drop = async (request: IncomingMessage) => {
    for await (const chunk of request) expect(chunk).toBeDefined()
  }
  const url = await serve(mounted, (request, response) => void drop(request).then(() => mounted.handler(request, response)))
  const answer = await send(url, 'POST', '/polyphony/api/v1/threads', { body: { title: 'lost' } })
  expect([answer.status, answer.json.code]).toEqual([500, 'CONFIG_INVALID'])
})

test('the connection of the app keeps its own time limit after an answer', async () => {
  const { mounted } = await mount()
  const server = createServer(mounted.handler)
  server.keepAliveTimeout = 0
  server.timeout = 0
  const sockets: { timeout?: number }[] = []
  server.on('connection', (socket) => sockets.push(socket))
  const url = await listen(server, () => mounted.close())
  const finished = once(server, 'request').then(([, response]) => once(response, 'close'))
  expect((await send(url, 'GET', '/polyphony/api/v1/me')).status).toBe(200)
  await finished
  expect(sockets.map(({ timeout }) => timeout)).toEqual([0])
})

test('closing ends streams at once, answers new requests 503, and leaves the Polyphony of the app open', async () => {
  const provider = createScriptedProvider({ replies: [{ text: 'half', hang: true }] })
  const { mounted, polyphony } = await mount({}, { simulator: false, providers: { scripted: provider } })
  const url = await serve(mounted)
  const thread = await polyphony.conversations.createThread('local')
  const flow = await polyphony.orchestrator.createFlow(thread.id, 'local', {
    name: 'hangs',
    type: 'sequential',
    steps: [{ id: 'only', model: 'scripted/a', action: 'generate', prompt: 'original' }],
  })
  const path = `/polyphony/api/v1/flows/${flow.id}`
  const stream = await fetch(`${url}${path}/updates`)
  const waiting = send(url, 'POST', `${path}/execute?wait=60000`, { body: { input: 'hello' } })
  while ((await polyphony.orchestrator.getFlowStatus(flow.id, 'local')).status !== 'RUNNING') await delay(10)
  await Promise.all([mounted.close(), mounted.close()])
  expect(eventsOf(await stream.text()).map(({ event }) => event)).not.toContain('end')
  expect([(await waiting).status, (await waiting).json.status]).toEqual([202, 'RUNNING'])
  const late = await send(url, 'GET', '/polyphony/api/v1/me')
  expect([late.status, late.json.code]).toEqual([503, 'SERVER_CLOSING'])
  await polyphony.orchestrator.cancelFlow(flow.id, 'local')
  expect((await polyphony.orchestrator.getFlowStatus(flow.id, 'local')).status).toBe('CANCELLED')
})

test('closing closes the Polyphony too where it is asked for', async () => {
  const polyphony = await openTestPolyphony({ server: { closeTimeoutMs: 50 } })
  const closed: unknown[] = []
  const close = (options: unknown) => {
    closed.push(options)
    return polyphony.close()
  }
  const mounted = await mountPolyphony({ ...polyphony, close })
  await mounted.close({ polyphony: true })
  expect(closed).toEqual([{ handOver: true, graceMs: 50 }])
})
