import { expect, test } from 'vitest'
import type { PolyphonyEvent } from '../../src/domain/event.ts'
import type { Caller } from '../../src/server/access/caller.ts'
import { openEventReader } from '../../src/server/streaming/event-reader.ts'
import { until } from '../events/memory-bus.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { type RunningServer, runServer } from './running-server.ts'
import { connect } from './socket-client.ts'

const USER = ['read', 'write', 'execute'] as const
const PATH = '/api/v1/events'

async function runFlow({ polyphony: { conversations, orchestrator } }: RunningServer, userId: string): Promise<string> {
  const { id } = await conversations.createThread(userId, { title: 'a title' })
  const steps = [{ id: 'write', model: 'openai/gpt-5.4-mini', action: 'generate' as const, prompt: '{{ input }}' }]
  const { id: flowId } = await orchestrator.createFlow(id, userId, { name: 'draft', type: 'sequential', steps })
  await orchestrator.executeFlow(flowId, userId, { input: 'hello' })
  return flowId
}

const typesOf = ({ items }: Record<string, unknown>): readonly string[] =>
  Array.isArray(items) ? items.map(({ type }: { type: string }) => type) : []

/** Reads an event stream until it has so many events. */
async function readStream(url: string, key: string, count: number, headers: Record<string, string> = {}, query = '') {
  const abort = new AbortController()
  const answer = await fetch(`${url}${PATH}${query}`, {
    headers: { authorization: `Bearer ${key}`, accept: 'text/event-stream', ...headers },
    signal: abort.signal,
  })
  expect(answer.headers.get('content-type')).toContain('text/event-stream')
  const found: { id?: string; event?: string; data?: string }[] = []
  let text = ''
  const decoder = new TextDecoder()
  for await (const bytes of answer.body ?? []) {
    text += decoder.decode(bytes, { stream: true })
    const parts = text.split('\n\n')
    text = parts.pop() ?? ''
    for (const part of parts) {
      const fields = Object.fromEntries(
        part.split('\n').map((line) => [line.split(': ', 1)[0], line.slice(line.indexOf(': ') + 2)]),
      )
      if (fields.event !== undefined) found.push(fields)
    }
    if (found.length >= count) break
  }
  abort.abort()
  return found
}

test('users list their own events and the updates of their flows, operators those of all users', async () => {
  const server = await runServer({}, { isKeyed: true })
  const { send, keyOf, polyphony } = server
  const [ada, bob, operator] = [await keyOf('ada', USER), await keyOf('bob', USER), await keyOf('olga', ['read', 'operate'])]
  const flowId = await runFlow(server, 'ada')
  await polyphony.events.publish({ type: 'service_state', source: 'service', correlationId: flowId, data: { pid: 7 } })
  const posted = await send('POST', PATH, { key: ada, body: { type: 'order_paid', correlationId: flowId, data: { amount: 3 } } })
  expect(posted).toMatchObject({ status: 201, json: { seq: 2, source: 'user', userId: 'ada', data: { amount: 3 } } })

  const updates = ['flow_start', 'step_start', 'step_complete', 'flow_complete']
  const list = async (key: string, query: string) => (await send('GET', `${PATH}${query}`, { key })).json
  expect(typesOf(await list(ada, `?correlationId=${flowId}`)).toSorted()).toEqual([...updates, 'order_paid'].toSorted())
  expect(await list(bob, `?correlationId=${flowId}`)).toEqual({ items: [], lastSeq: 0 })
  expect(typesOf(await list(operator, `?correlationId=${flowId}`))).toHaveLength(6)
  expect(typesOf(await list(ada, ''))).toEqual(['order_paid'])
  expect(typesOf(await list(operator, '?type=service_*,other'))).toEqual(['service_state'])
  expect(await list(operator, '?afterSeq=1&limit=1')).toMatchObject({ items: [{ seq: 2 }], lastSeq: 2 })
  expect((await send('GET', `${PATH}?type=%25`, { key: ada })).status).toBe(422)
})

test('pages of a matter have every event and every update of its flow once, whatever their size', async () => {
  const server = await runServer({}, { isKeyed: true })
  const { send, keyOf, polyphony } = server
  const [ada, bob] = [await keyOf('ada', USER), await keyOf('bob', USER)]
  const flowId = await runFlow(server, 'ada')
  for (const index of [1, 2, 3]) {
    await polyphony.events.publishAs('ada', { type: 'order_paid', correlationId: flowId, data: { index } })
    await polyphony.events.publishAs('ada', { type: 'order_paid', correlationId: 'other', data: { index } })
  }
  const list = async (key: string, query: string) => (await send('GET', `${PATH}?correlationId=${flowId}${query}`, { key })).json
  const all = await list(ada, '')
  expect(typesOf(all)).toHaveLength(7)
  expect(all.nextCursor).toBeUndefined()
  for (const limit of [1, 2, 3, 4, 7]) {
    const found: unknown[] = []
    let [cursor, pages] = ['', 0]
    do {
      const { items, nextCursor } = await list(ada, `&limit=${limit}${cursor}`)
      found.push(...(Array.isArray(items) ? items : []))
      cursor = typeof nextCursor === 'string' ? `&cursor=${nextCursor}` : ''
      pages += 1
    } while (cursor !== '' && pages < 10)
    expect(found, `limit ${limit}`).toEqual(all.items)
    expect(pages).toBe(Math.ceil(7 / limit))
  }
  // Some updates are left out by the type, and the pages continue after them all the same.
  expect(typesOf(await list(ada, '&type=step_*&limit=1&cursor=0.2'))).toEqual(['step_complete'])
  expect(await list(bob, '&cursor=0.0')).toEqual({ items: [], lastSeq: 0 })
  expect((await send('GET', `${PATH}?cursor=1`, { key: ada })).status).toBe(422)
  expect((await send('GET', `${PATH}?cursor=1.1&afterSeq=1`, { key: ada })).status).toBe(422)
})

test('users publish under their own name only, and nothing that looks like an event of Polyphony', async () => {
  const { send, keyOf } = await runServer({}, { isKeyed: true })
  const [ada, operator] = [await keyOf('ada', USER), await keyOf('olga', ['execute', 'operate'])]
  const post = async (key: string, body: object) => {
    const { status, json } = await send('POST', PATH, { key, body })
    return `${status} ${json.code ?? json.source}`
  }
  const event = { type: 'order_paid', data: null }
  expect(await post(ada, { ...event, source: 'service' })).toBe('403 PERMISSION_DENIED')
  expect(await post(ada, { ...event, userId: 'bob' })).toBe('403 PERMISSION_DENIED')
  expect(await post(ada, { ...event, priority: 'critical' })).toBe('403 PERMISSION_DENIED')
  expect(await post(ada, { ...event, type: 'service_state' })).toBe('422 EVENT_INVALID')
  expect(await post(ada, { ...event, data: 'x'.repeat(70_000) })).toBe('422 EVENT_INVALID')
  expect(await post(ada, { ...event, source: 'user', userId: 'ada' })).toBe('201 user')
  expect(await post(operator, { ...event, source: 'service', priority: 'critical' })).toBe('201 service')
  expect(await post(operator, { ...event, source: 'flow' })).toBe('422 EVENT_INVALID')
  expect(await post(await keyOf('eve', ['read']), event)).toBe('403 PERMISSION_DENIED')
})

test('a stream continues after its last event with what was stored, and goes over to new events without a gap', async () => {
  const server = await runServer({}, { isKeyed: true })
  const { url, keyOf, polyphony } = server
  const [ada, bob] = [await keyOf('ada', USER), await keyOf('bob', USER)]
  const publish = (index: number) => polyphony.events.publishAs('ada', { type: 'order_paid', data: { index } })
  for (let index = 1; index <= 450; index++) await publish(index)
  const reading = readStream(url, ada, 460, { 'last-event-id': '10' })
  await until(() => polyphony.events.stats().handlers === 1)
  const other = readStream(url, bob, 1)
  await until(() => polyphony.events.stats().handlers === 2)
  for (let index = 451; index <= 470; index++) await publish(index)
  const found = await reading
  expect(found.map(({ id }) => Number(id))).toEqual(Array.from({ length: 460 }, (_, index) => index + 11))
  expect(found[0]).toMatchObject({ event: 'order_paid' })
  await polyphony.events.publishAs('bob', { type: 'mine', data: null })
  expect((await other).map(({ event }) => event)).toEqual(['mine'])
  await until(() => polyphony.events.stats().handlers === 0)
})

test('a WebSocket receives events that fit its filter, stored ones first, until it ends the subscription', async () => {
  const server = await runServer({}, { isKeyed: true })
  const { url, keyOf, polyphony } = server
  const client = await connect(url, { key: await keyOf('ada', USER) })
  const { events } = polyphony
  await events.publishAs('ada', { type: 'order_paid', data: 1 })
  await events.publishAs('bob', { type: 'order_paid', data: 'not for ada' })
  client.send({ type: 'subscribe_events', requestId: 'r', filter: { type: 'order_*' }, afterSeq: 0 })
  await client.next(({ type, requestId }) => type === 'events_subscribed' && requestId === 'r')
  await events.publishAs('ada', { type: 'other', data: null })
  await events.publishAs('ada', { type: 'order_sent', data: 2 })
  await client.next(({ type, event }) => type === 'event' && JSON.stringify(event).includes('order_sent'))
  const received = client.frames.filter(({ type }) => type === 'event').map(({ event }) => event)
  expect(received).toMatchObject([
    { type: 'order_paid', data: 1, seq: 1 },
    { type: 'order_sent', data: 2, seq: 4 },
  ])
  client.send({ type: 'unsubscribe_events' })
  await client.next(({ type }) => type === 'events_unsubscribed')
  expect(events.stats().handlers).toBe(0)
})

test('a stream of a shared flow ends when its right is withdrawn', async () => {
  const server = await runServer({}, { isKeyed: true, lookEveryMs: 10 })
  const { url, keyOf, polyphony } = server
  const flowId = await runFlow(server, 'ada')
  const threadId = await polyphony.orchestrator.getThreadId(flowId, 'ada')
  await polyphony.permissions.grant(threadId, 'ada', 'bob', ['read'])
  const client = await connect(url, { key: await keyOf('bob', USER) })
  client.send({ type: 'subscribe_events', filter: { correlationId: flowId } })
  await client.next(({ type }) => type === 'events_subscribed')
  await polyphony.permissions.revoke(threadId, 'ada', 'bob')
  expect(await client.next(({ type }) => type === 'refused')).toMatchObject({ problem: { code: 'PERMISSION_DENIED' } })
  await until(() => polyphony.events.stats().handlers === 0)
})

test('a reader that does not read gets a gap in place of what was dropped, and then the newest events', async () => {
  const { events, close } = await openTestPolyphony()
  const caller: Caller = { userId: 'olga', scopes: ['read', 'operate'], via: 'key' }
  const sent: (number | string)[] = []
  let isFull = true
  const sink = {
    isFull: () => isFull,
    send: ({ seq }: PolyphonyEvent) => sent.push(seq),
    gap: (from: number, to: number) => sent.push(`${from}-${to}`),
  }
  const reader = await openEventReader(events, { caller, filter: {}, sink })
  await Promise.all(Array.from({ length: 1_500 }, (_, index) => events.publish({ type: 'a', source: 'test', data: index })))
  isFull = false
  reader.resume()
  await until(() => sent.at(-1) === 1_500)
  const gaps = sent.filter((entry) => typeof entry === 'string')
  expect(gaps).toHaveLength(1)
  const [from = 0, to = 0] = gaps[0]?.split('-').map(Number) ?? []
  expect(sent.filter((entry) => typeof entry === 'number' && entry >= from && entry <= to)).toEqual([])
  expect(sent.length - 1 + (to - from + 1)).toBe(1_500)
  reader.stop()
  await close()
})

test('a stream has every event in the order of its numbers, whatever the priority', async () => {
  const { events, close } = await openTestPolyphony()
  const caller: Caller = { userId: 'olga', scopes: ['read', 'operate'], via: 'key' }
  const sent: number[] = []
  const sink = { isFull: () => false, send: ({ seq }: PolyphonyEvent) => sent.push(seq), gap: () => {} }
  const reader = await openEventReader(events, { caller, filter: {}, sink })
  const priorities = ['normal', 'low', 'critical', 'high', 'normal'] as const
  await Promise.all(priorities.map((priority) => events.publish({ type: 'a', source: 'test', priority, data: null })))
  await until(() => sent.length === 5)
  expect(sent).toEqual([1, 2, 3, 4, 5])
  reader.stop()
  await close()
})

test('a number above the newest event hides nothing, neither from a stream nor from a list', async () => {
  const server = await runServer({}, { isKeyed: true })
  const { url, keyOf, polyphony, send } = server
  const ada = await keyOf('ada', USER)
  await polyphony.events.publishAs('ada', { type: 'before', data: null })
  const future = String(Number.MAX_SAFE_INTEGER)
  const asked: Record<string, string>[] = [
    { 'last-event-id': '999999999' },
    {},
    { 'last-event-id': '-5' },
    { 'last-event-id': 'garbage' },
  ]
  const reading = asked.map((headers, index) => readStream(url, ada, 1, headers, index === 1 ? `?afterSeq=${future}` : ''))
  await until(() => polyphony.events.stats().handlers === asked.length)
  const list = await send('GET', `${PATH}?afterSeq=${future}`, { key: ada })
  expect(list.json).toEqual({ items: [], lastSeq: 1 })
  // A stream that has just begun may still read the newest number, so the second event is published until all have one.
  let isDone = false
  const all = Promise.all(reading).finally(() => {
    isDone = true
  })
  while (!isDone) {
    await polyphony.events.publishAs('ada', { type: 'after', data: null })
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  expect((await all).map(([first]) => first?.event)).toEqual(['after', 'after', 'after', 'after'])
})
