import type { Server } from 'node:http'
import OpenAI from 'openai'
import { expect, onTestFinished, test } from 'vitest'
import type { PolyphonyConfigInput } from '../../../src/config/config.ts'
import type { Polyphony } from '../../../src/polyphony.ts'
import { openTestPolyphony } from '../../support/polyphony.ts'
import { eventsOf, send } from '../running-server.ts'
import { connect } from '../socket-client.ts'

export interface MountedApp {
  /** Address of the app with the prefix. */
  readonly url: string
  /** Address of the sockets with the prefix. */
  readonly socketUrl: string
  /** A key of `ada`. */
  readonly key: string
}

/** Settings that the tests of every framework expect. */
export const SETTINGS: PolyphonyConfigInput = {
  simulator: true,
  server: { bodyLimitBytes: 300_000, sockets: { maxConnectionsPerUser: 1 } },
}

/** Lets a server of the app listen on a port of the system until the test is over. Resolves with its address. */
export async function listen(server: Server, close: () => Promise<void>): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    await close()
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  return `http://127.0.0.1:${typeof address === 'object' && address ? address.port : ''}`
}

/** An app of this process, with a Polyphony that `ada` has a key of. */
export async function runApp(
  create: (polyphony: Polyphony) => Promise<{ readonly server: Server; close(): Promise<void> }>,
): Promise<MountedApp> {
  const polyphony = await openTestPolyphony(SETTINGS)
  onTestFinished(() => polyphony.close())
  const { token: key } = await polyphony.apiKeys.create('ada')
  const { server, close } = await create(polyphony)
  const url = `${await listen(server, close)}/polyphony`
  return { url, socketUrl: url, key }
}

const DEFINITION = {
  name: 'one step',
  type: 'sequential',
  steps: [{ id: 'only', model: 'openai/gpt-6-luna', action: 'generate', prompt: 'original' }],
}

async function createFlow({ url, key }: MountedApp): Promise<string> {
  const thread = await send(url, 'POST', '/api/v1/threads', { key })
  const body = { threadId: thread.json.id, definition: DEFINITION }
  const created = await send(url, 'POST', '/api/v1/flows', { key, body })
  expect([created.status, created.headers.get('location')]).toEqual([201, `/polyphony/api/v1/flows/${created.json.id}`])
  return String(created.json.id)
}

/** What every framework must do for the server in it. `start` is called by each test. */
export function testMountedApp(name: string, start: () => Promise<MountedApp>): void {
  test(`${name} answers its own routes and those of Polyphony, and refuses a request without a key`, async () => {
    const app = await start()
    const own = await fetch(app.url.replace('/polyphony', '/'))
    expect([own.status, await own.text()]).toEqual([200, expect.stringContaining('the app')])
    const stranger = await send(app.url, 'GET', '/api/v1/me')
    expect([stranger.status, stranger.json]).toEqual([401, expect.objectContaining({ instance: '/polyphony/api/v1/me' })])
    expect((await send(app.url, 'GET', '/api/v1/me', { key: app.key })).json).toMatchObject({ userId: 'ada', via: 'key' })
    expect((await send(app.url, 'GET', '/openapi.json')).json.servers).toEqual([{ url: '/polyphony' }])
    expect((await send(app.url, 'GET', '/docs')).text).toContain('src="/polyphony/docs/static/swagger-ui-bundle.js"')
    expect((await send(app.url, 'GET', '/docs/static/swagger-ui.css')).headers.get('content-type')).toContain('text/css')
    // A page of another site is refused, whoever asks.
    const page = { origin: 'https://evil.example' }
    expect((await send(app.url, 'GET', '/api/v1/me', { key: app.key, headers: page })).json.code).toBe('ORIGIN_REFUSED')
  })

  test(`${name} refuses a body over the limit as problem details, and reads one below it`, async () => {
    const { url, key } = await start()
    const create = (title: string) => send(url, 'POST', '/api/v1/threads', { key, body: { title } })
    const refused = await create('x'.repeat(400_000))
    expect([refused.status, refused.headers.get('content-type')]).toEqual([413, 'application/problem+json'])
    expect(refused.json.code).toBe('REQUEST_TOO_LARGE')
    expect((await create('a thread')).json).toMatchObject({ title: 'a thread' })
    const flow = await send(url, 'POST', '/api/v1/flows', { key, body: { pad: 'x'.repeat(200_000) } })
    expect([flow.status, flow.json.code]).toEqual([422, 'INPUT_INVALID'])
  })

  test(`${name} streams a flow to its end, and notices a client that leaves`, async () => {
    const app = await start()
    const { url, key } = app
    const flowId = await createFlow(app)
    const headers = { authorization: `Bearer ${key}` }
    const follow = (id: string, signal?: AbortSignal) => fetch(`${url}/api/v1/flows/${id}/updates`, { headers, signal })

    // A flow that was not started stays silent, and one user may hold one stream.
    const leaving = new AbortController()
    const silent = await follow(await createFlow(app), leaving.signal)
    const begun = await silent.body?.getReader().read()
    expect(new TextDecoder().decode(begun?.value)).toMatch(/^retry: 1000\n\n/)
    expect((await follow(flowId)).status).toBe(429)
    leaving.abort()
    let stream = await follow(flowId)
    while (stream.status === 429) stream = await follow(flowId)

    expect((await send(url, 'POST', `/api/v1/flows/${flowId}/execute`, { key, body: { input: 'Hello' } })).status).toBe(202)
    const events = eventsOf(await stream.text())
    expect([stream.headers.get('content-type'), events.at(-2)?.event]).toEqual([
      'text/event-stream; charset=utf-8',
      'flow_complete',
    ])
    expect(events.at(-1)).toMatchObject({ event: 'end', data: { flowId, status: 'COMPLETED' } })
    // The connection is free for the next request.
    expect((await send(url, 'GET', `/api/v1/flows/${flowId}/status`, { key })).json.status).toBe('COMPLETED')
  })

  test(`${name} opens a WebSocket under the prefix, and refuses one without a key`, async () => {
    const app = await start()
    const flowId = await createFlow(app)
    await expect(connect(app.socketUrl)).rejects.toThrow('401')
    const socket = await connect(app.socketUrl, { key: app.key })
    socket.send({ type: 'subscribe', flowId })
    await socket.next(({ type }) => type === 'subscribed')
    await send(app.url, 'POST', `/api/v1/flows/${flowId}/execute`, { key: app.key, body: { input: 'Hello' } })
    expect(await socket.next(({ type }) => type === 'end')).toMatchObject({ status: 'COMPLETED' })
  })

  test(`${name} answers the client of OpenAI under the prefix, streamed and not`, async () => {
    const app = await start()
    const { url, key } = app
    await createFlow(app)
    const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 })
    const model = 'flow/one step'
    expect((await openai.models.list()).data.map(({ id }) => id)).toContain(model)
    const messages = [{ role: 'user' as const, content: 'Why is the sky blue?' }]
    const answer = await openai.chat.completions.create({ model, messages })
    const text = answer.choices[0]?.message.content ?? ''
    expect(text.length).toBeGreaterThan(10)
    let streamed = ''
    for await (const chunk of await openai.chat.completions.create({ model, messages, stream: true })) {
      streamed += chunk.choices[0]?.delta.content ?? ''
    }
    expect(streamed).toBe(text)
    await expect(new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 }).models.list()).rejects.toMatchObject({
      status: 401,
    })
  })
}
