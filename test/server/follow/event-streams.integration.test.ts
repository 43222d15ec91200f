import type { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { until } from '../../support/flows.ts'
import { openTcp, readAnswer } from '../abuse/raw-request.ts'
import { eventsOf, type RunningServer, runServer } from '../running-server.ts'
import { connect } from '../socket-client.ts'

const OPTIONS = { timeout: 60_000 }

/** A server whose flow writes what it is told; its connections are seen from its side. */
async function open(chunks: readonly string[], server: NonNullable<Parameters<typeof runServer>[0]>['server'] = {}) {
  const pen = createScriptedProvider({ replies: () => ({ text: 'short', chunks, delayMs: 1 }) })
  const running = await runServer({ providers: { scripted: pen }, server: { requestsPerMinute: 100_000, ...server } })
  const connections = new Set<Socket>()
  running.server.app.server.on('connection', (socket: Socket) => {
    connections.add(socket)
    socket.once('close', () => connections.delete(socket))
  })
  return { ...running, connections, flowId: await createFlow(running) }
}

async function createFlow({ send }: RunningServer, key?: string): Promise<string> {
  const thread = (await send('POST', '/api/v1/threads', { key })).json
  const definition = {
    name: 'writing',
    type: 'sequential',
    input: 'go',
    steps: [{ id: 'write', model: 'scripted/pen', action: 'generate', prompt: '{{ original }}' }],
  }
  return String((await send('POST', '/api/v1/flows', { key, body: { threadId: thread.id, definition } })).json.id)
}

const pieces = (count: number, characters: number) =>
  Array.from({ length: count }, (_, index) => `<${index}>`.padEnd(characters, '.'))

test('clients may disconnect at any moment, including the last one, without harm', OPTIONS, async () => {
  const place = await open(pieces(100, 10))
  await place.send('POST', `/api/v1/flows/${place.flowId}/execute`)
  const path = `${place.url}/api/v1/flows/${place.flowId}/updates`
  await Promise.all(
    Array.from({ length: 300 }, async (_, index) => {
      const left = new AbortController()
      setTimeout(() => left.abort(), index)
      await fetch(path, { signal: left.signal })
        .then((answer) => answer.text())
        .catch(() => {})
    }),
  )
  const whole = eventsOf((await place.send('GET', `/api/v1/flows/${place.flowId}/updates`)).text)
  expect(whole.at(-1)).toMatchObject({ event: 'end', data: { status: 'COMPLETED' } })
})

test('event streams are limited per user, and each one that ends frees a slot', OPTIONS, async () => {
  const place = await open(['x'], { sockets: { maxConnectionsPerUser: 3 } })
  const [ada, bea] = await Promise.all([place.keyOf('ada'), place.keyOf('bea')])
  const [ofAda, ofBea] = await Promise.all([createFlow(place, ada), createFlow(place, bea)])
  const openOne = async (key: string, flowId: string) => {
    const tcp = await openTcp(place.url)
    const answer = readAnswer(tcp)
    const { host } = new URL(place.url)
    tcp.write(`GET /api/v1/flows/${flowId}/updates HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${key}\r\n\r\n`)
    return { tcp, status: (await answer).status }
  }
  const first = await openOne(ada, ofAda)
  expect([first.status, (await openOne(ada, ofAda)).status, (await openOne(ada, ofAda)).status]).toEqual([200, 200, 200])
  expect((await openOne(ada, ofAda)).status).toBe(429)
  expect((await openOne(bea, ofBea)).status).toBe(200)
  // A flow that is not there takes no place.
  for (let round = 0; round < 5; round++) expect((await openOne(bea, ofAda)).status).toBe(404)
  expect((await openOne(bea, ofBea)).status).toBe(200)
  const before = place.connections.size
  first.tcp.destroy()
  await until(() => place.connections.size < before)
  expect((await openOne(ada, ofAda)).status).toBe(200)
})

test(
  'a closing server does not wait for stopped readers, and reports to no client that the flow has ended',
  OPTIONS,
  async () => {
    const place = await open(pieces(2_000, 10_000))
    const { host } = new URL(place.url)
    const stream = await openTcp(place.url)
    stream.pause()
    stream.write(`GET /api/v1/flows/${place.flowId}/updates HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
    const socket = await connect(place.url)
    socket.send({ type: 'subscribe', flowId: place.flowId })
    await socket.next(({ type }) => type === 'subscribed')
    socket.socket.pause()
    const reading = await connect(place.url)
    reading.send({ type: 'subscribe', flowId: place.flowId })
    await place.send('POST', `/api/v1/flows/${place.flowId}/execute`)
    await until(() => [...place.connections].filter(({ writableLength }) => writableLength > 400_000).length === 2)
    await place.server.close()
    await until(() => place.connections.size === 0)
    expect(await reading.closed).toMatchObject({ code: 1001 })
    expect(reading.frames.some(({ type }) => type === 'end' || type === 'refused')).toBe(false)
    expect(['RUNNING', 'COMPLETED']).toContain((await place.polyphony.orchestrator.getFlowStatus(place.flowId)).status)
  },
)

test('an answer that is not read does not keep its connection open', OPTIONS, async () => {
  const place = await open(['x'], { sockets: { slowAfterMs: 300 } })
  const { host } = new URL(place.url)
  const thread = (await place.send('POST', '/api/v1/threads')).json
  for (let count = 0; count < 12; count++) {
    const body = { role: 'user', content: 'x'.repeat(1_000_000) }
    expect((await place.send('POST', `/api/v1/threads/${thread.id}/messages`, { body })).status).toBe(201)
  }
  const request = `GET /api/v1/threads/${thread.id}/messages?limit=100 HTTP/1.1\r\nHost: ${host}\r\n\r\n`
  const stopped = await openTcp(place.url)
  stopped.pause()
  stopped.write(request)
  await until(() => [...place.connections].some(({ writableLength }) => writableLength > 0))
  await until(() => [...place.connections].every(({ writableLength }) => writableLength === 0))
  // One that is read, and one that is kept for later, are left alone.
  const kept = await openTcp(place.url)
  let bytes = 0
  kept.on('data', (piece: Buffer) => {
    bytes += piece.length
  })
  kept.write(request)
  await until(() => bytes > 12_000_000)
  for (let round = 0; round < 10; round++) await new Promise((resolve) => setTimeout(resolve, 50))
  kept.write(`GET /livez HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
  const before = bytes
  await until(() => bytes > before)
})

test('an ended event stream that is not read to its end does not keep its connection open', OPTIONS, async () => {
  const place = await open(pieces(430, 10_000), { sockets: { slowAfterMs: 500 } })
  const { host } = new URL(place.url)
  const stream = await openTcp(place.url)
  stream.pause()
  stream.write(`GET /api/v1/flows/${place.flowId}/updates HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
  await until(() => place.connections.size > 0)
  await place.polyphony.orchestrator.executeFlow(place.flowId, 'local', { streaming: true })
  await until(() => [...place.connections].every(({ writableLength }) => writableLength === 0))
})
