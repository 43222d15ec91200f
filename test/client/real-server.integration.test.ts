import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import {
  type ClientOptions,
  createClient,
  type FlowUpdate,
  type PolyphonyClient,
  PolyphonyError,
} from '../../src/client/client.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { type RunningServer, runServer } from '../server/running-server.ts'
import { rejection } from '../support/caught.ts'
import { until } from '../support/flows.ts'
import { createCuttingProxy } from './cutting-proxy.ts'

const hasty: Partial<ClientOptions> = { wait: async () => {}, WebSocket }
const clientOf = (server: { readonly url: string }, options: Partial<ClientOptions> = {}) =>
  createClient({ baseUrl: server.url, ...hasty, ...options })

const definition = {
  name: 'echo',
  type: 'sequential',
  steps: [{ id: 'say', model: 'scripted/m', action: 'generate', prompt: 'original' }],
} as const

/** A server whose model streams this text word by word. */
const runScripted = (text: string) => {
  const reply = { text, chunks: text.split(/(?<= )/) }
  return runServer({ providers: { scripted: createScriptedProvider({ id: 'scripted', replies: [reply] }) } })
}

async function createEcho(client: PolyphonyClient): Promise<string> {
  const thread = await client.threads.create()
  return (await client.flows.create({ threadId: thread.id, definition })).id
}
async function collect(loop: AsyncIterable<FlowUpdate>): Promise<readonly FlowUpdate[]> {
  const collected: FlowUpdate[] = []
  for await (const update of loop) collected.push(update)
  return collected
}
const textOf = (updates: readonly FlowUpdate[]) =>
  updates.map((update) => (update.type === 'step_progress' ? update.data.delta : '')).join('')

test('every group of the client works with the real server', { timeout: 60_000 }, async () => {
  const server = await runServer()
  const client = clientOf(server)
  expect(await client.me.get()).toMatchObject({ userId: 'local', via: 'local' })

  const thread = await client.threads.create({ title: 'Rain' })
  expect((await client.threads.list({ limit: 10 })).items).toEqual([thread])
  const second = await client.threads.create()
  const threadIds: string[] = []
  for await (const { id } of client.threads.all({ limit: 1 })) threadIds.push(id)
  expect(threadIds.toSorted()).toEqual([thread.id, second.id].toSorted())
  expect(await client.threads.get(thread.id)).toEqual(thread)
  const message = await client.messages.add(thread.id, { role: 'user', content: 'Write a haiku about rain' })
  expect((await client.messages.list(thread.id)).items).toEqual([message])
  expect(await client.permissions.set(thread.id, 'bob', ['read'])).toEqual({ userId: 'bob', rights: ['read'] })
  expect((await client.permissions.list(thread.id)).items).toContainEqual({ userId: 'bob', rights: ['read'] })

  expect(await client.dataSharing.get('anthropic')).toMatchObject({ allowCrossProviderContext: false })
  await client.dataSharing.set('anthropic', { allowCrossProviderContext: true })
  expect((await client.dataSharing.list()).items).toMatchObject([{ providerKey: 'anthropic', allowCrossProviderContext: true }])

  expect((await client.templates.list()).items.map(({ name }) => name)).toContain('critique')
  expect(await client.templates.get('critique')).toMatchObject({ type: 'critique' })
  const { definition: made } = await client.templates.instantiate('critique')
  expect(await client.flows.check({ definition: made })).toMatchObject({ ok: true })

  const flow = await client.flows.create({ threadId: thread.id, definition: made })
  const other = await client.flows.create({ threadId: thread.id, template: 'critique' })
  const ids: string[] = []
  for await (const summary of client.flows.all({ threadId: thread.id, limit: 1 })) ids.push(summary.id)
  expect(ids.toSorted()).toEqual([flow.id, other.id].toSorted())

  const ended = await client.flows.executeAndWait(flow.id)
  expect(ended).toMatchObject({ id: flow.id, status: 'COMPLETED', simulated: true })
  expect(await client.flows.status(flow.id)).toMatchObject({ status: 'COMPLETED', progress: 100 })
  expect(await client.flows.get(flow.id)).toEqual(ended)
  expect(await rejection(client.flows.execute(flow.id))).toMatchObject({
    code: 'FLOW_ALREADY_COMPLETED',
    status: 409,
    retryable: false,
  })
  const again = await client.flows.rerun(flow.id)
  expect(again).toMatchObject({ parentFlowId: flow.id, status: 'PENDING' })
  expect(await client.flows.executeStep(again.id, 'draft', { input: 'x' })).toMatchObject({
    stepId: 'draft',
    status: 'SUCCESS',
  })
  expect(await client.flows.cancel(again.id)).toMatchObject({ flowId: again.id })

  const [provider] = (await client.providers.list()).items
  expect(await client.providers.get(provider?.id ?? '')).toEqual(provider)
  expect(await client.providers.health(provider?.id ?? '')).toMatchObject({ providerId: provider?.id })

  await client.flows.delete(other.id)
  await client.dataSharing.delete('anthropic')
  await client.threads.delete(thread.id)
  expect(await rejection(client.threads.get(thread.id))).toMatchObject({
    code: 'THREAD_NOT_FOUND',
    status: 404,
    requestId: expect.any(String),
  })
})

test('an invalid definition is refused with a pointer to every problem', async () => {
  const client = clientOf(await runServer())
  const thread = await client.threads.create()
  const wrong = { ...definition, steps: [{ ...definition.steps[0], inputFrom: 'nobody' }] }
  expect(await rejection(client.flows.create({ threadId: thread.id, definition: wrong }))).toMatchObject({
    code: 'FLOW_INVALID',
    status: 422,
    pointer: expect.stringMatching(/^#\/definition\/steps\/0/),
  })
})

test('a repeated call takes effect once', async () => {
  const server = await runServer()
  let attempts = 0
  // The server's answer to the first attempt is lost.
  const losing: typeof fetch = async (...given) => {
    const answer = await fetch(...given)
    if (++attempts === 1) throw new TypeError('fetch failed')
    return answer
  }
  const client = clientOf(server, { fetch: losing })
  const thread = await client.threads.create()
  expect((await client.threads.list()).items).toEqual([thread])
  expect(attempts).toBe(3)
})

describe('a server with keys', () => {
  test('identifies a client by its key over HTTP, streams and both kinds of WebSocket', async () => {
    const server: RunningServer = await runServer()
    const apiKey = await server.keyOf('ada')
    expect(await rejection(clientOf(server, { apiKey: 'pk_1_wrong' }).me.get())).toMatchObject({
      code: 'UNAUTHENTICATED',
      status: 401,
    })
    expect(await rejection(collect(clientOf(server).flows.follow('any')))).toMatchObject({ code: 'UNAUTHENTICATED', status: 401 })
    const client = clientOf(server, { apiKey })
    expect(await client.me.get()).toMatchObject({ userId: 'ada', via: 'key' })
    for (const socketAuth of ['header', 'ticket'] as const) {
      const refused = clientOf(server, { socketAuth, apiKey: 'pk_1_wrong' }).socket()
      expect(await rejection(collect(refused.follow('any')))).toMatchObject({ code: 'UNAUTHENTICATED', status: 401 })
      const socket = clientOf(server, { socketAuth, token: () => apiKey }).socket()
      expect(await rejection(collect(socket.follow('unknown')))).toMatchObject({ code: 'FLOW_NOT_FOUND', status: 404 })
      expect(await rejection(socket.execute('unknown'))).toMatchObject({ code: 'FLOW_NOT_FOUND', status: 404 })
      socket.close()
    }
  })
})

describe('an execution with many updates', () => {
  const reply = Array.from({ length: 400 }, (_, index) => `word${index} ü🙂`).join(' ')

  test('is received over cut connections without gaps or duplicates, by stream and by WebSocket', {
    timeout: 60_000,
  }, async () => {
    const server = await runScripted(reply)
    const direct = clientOf(server)
    const flowId = await createEcho(direct)
    await direct.flows.executeAndWait(flowId, { input: 'go' })
    const all = await collect(direct.flows.follow(flowId))
    expect(textOf(all)).toBe(reply)
    expect(all.length).toBeGreaterThan(400)
    expect(all.map(({ seq }) => seq)).toEqual(all.map((_, index) => index + 1))

    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: 60_000 }), { maxLength: 12 }), fc.boolean(), async (cuts, bySocket) => {
        const proxy = await createCuttingProxy(server.url, (connection) => cuts[connection])
        const client = clientOf(proxy)
        const socket = client.socket()
        const collected = await collect(bySocket ? socket.follow(flowId) : client.flows.follow(flowId))
        expect(collected).toEqual(all)
        socket.close()
        await proxy.close()
      }),
      { numRuns: 25 },
    )
  })

  test('is received by several loops at once, by stream and by WebSocket, and ends each of them', async () => {
    const server = await runScripted(reply)
    const client = clientOf(server)
    const flowId = await createEcho(client)
    const socket = client.socket()
    onTestFinished(() => socket.close())
    const loops = [collect(client.flows.follow(flowId)), collect(client.flows.follow(flowId)), collect(socket.follow(flowId))]
    expect(await socket.execute(flowId, { input: 'go' })).toMatchObject({ flowId })
    for (const updates of await Promise.all(loops)) {
      expect(textOf(updates)).toBe(reply)
      expect(updates.at(-1)?.type).toBe('flow_complete')
    }
  })

  test('continues after its loop is left, and can be cancelled over the socket', async () => {
    const server = await runScripted('')
    const client = clientOf(server)
    const flowId = await createEcho(client)
    const socket = client.socket()
    onTestFinished(() => socket.close())
    expect(await socket.cancel(flowId)).toMatchObject({ flowId })
    await client.flows.execute(flowId, { input: 'go' })
    for await (const _ of client.flows.follow(flowId)) break
    await collect(client.flows.follow(flowId))
    expect((await client.flows.get(flowId)).status).not.toBe('CANCELLED')
  })
})

test('a loop continues with the next server after its server has stopped', async () => {
  const reply = 'a b c d e f'
  const first = await runScripted(reply)
  const flowId = await createEcho(clientOf(first))
  await clientOf(first).flows.executeAndWait(flowId, { input: 'go' })
  let { url } = first
  const moving: typeof fetch = (input, init) => fetch(String(input).replace('http://server.test', url), init)
  const client = createClient({
    baseUrl: 'http://server.test',
    fetch: moving,
    wait: async () => {
      if (url === first.url) url = await open()
    },
  })
  const { polyphony } = first
  const open = async () => {
    const { createHttpServer } = await import('../../src/server/server.ts')
    const next = await createHttpServer(polyphony)
    onTestFinished(() => next.close())
    return next.listen()
  }
  const updates: FlowUpdate[] = []
  for await (const update of client.flows.follow(flowId)) {
    updates.push(update)
    if (updates.length === 1) await first.server.close()
  }
  expect(textOf(updates)).toBe(reply)
  expect(updates.map(({ seq }) => seq)).toEqual(updates.map((_, index) => index + 1))
  expect(PolyphonyError.is(undefined)).toBe(false)
})

test('events are published, listed and followed over lost connections, in order and once', { timeout: 60_000 }, async () => {
  const server = await runServer()
  const proxy = await createCuttingProxy(server.url, (connection) => (connection < 4 ? 2_500 : undefined))
  onTestFinished(() => proxy.close())
  const client = clientOf(proxy)
  const direct = clientOf(server)
  await direct.events.publish({ type: 'order_paid', data: { index: 0 } })
  const seen: number[] = []
  const abort = new AbortController()
  const following = (async () => {
    // A type of an event may be the name of a frame of the stream.
    for await (const { seq } of client.events.follow({ type: ['order_*', 'problem'], signal: abort.signal })) {
      if (seen.push(seq) === 40) return
    }
  })()
  await until(() => server.polyphony.events.stats().handlers === 1)
  for (let index = 1; index <= 40; index++) {
    await direct.events.publish({ type: index % 2 ? 'order_paid' : 'problem', data: { index } })
  }
  await following
  abort.abort()
  expect(proxy.connections).toBeGreaterThan(2)
  expect(seen).toEqual(Array.from({ length: 40 }, (_, index) => index + 2))
  const { items, lastSeq } = await direct.events.list({ type: 'order_*', afterSeq: 1, limit: 3 })
  expect([items.map(({ seq }) => seq), lastSeq]).toEqual([[2, 4, 6], 6])
  const refused = direct.events.publish({ type: 'service_state', data: null, source: 'flow' })
  expect(await rejection(refused)).toMatchObject({ code: expect.stringMatching(/PERMISSION_DENIED|EVENT_INVALID/) })
})

test('events of a server with another log are followed from its beginning', { timeout: 60_000 }, async () => {
  const first = await runServer()
  const client = clientOf(first)
  for (let index = 1; index <= 5; index++) await client.events.publish({ type: 'order_paid', data: { index } })
  const seen: string[] = []
  const port = Number(new URL(first.url).port)
  for await (const { seq, type } of client.events.follow({ type: 'order_*', afterSeq: 4 })) {
    seen.push(`${seq} ${type}`)
    if (type === 'order_last') break
    if (seq !== 5) continue
    await first.close()
    const { url } = await runServer({ server: { port } })
    const direct = clientOf({ url })
    await direct.events.publish({ type: 'order_sent', data: null })
    await direct.events.publish({ type: 'order_last', data: null })
  }
  expect(seen).toEqual(['5 order_paid', '1 order_sent', '2 order_last'])
})

test('a number above the newest one counts as the newest: the events from then on are followed', async () => {
  const server = await runServer()
  const client = clientOf(server)
  const publish = () => client.events.publish({ type: 'order_paid', data: null })
  await publish()
  const next = client.events.follow({ type: 'order_*', afterSeq: 900 }).next()
  await until(() => server.polyphony.events.stats().handlers === 1)
  await publish()
  expect(await next).toMatchObject({ value: { seq: 2 } })
})
