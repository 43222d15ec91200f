import { expect, test } from 'vitest'
import { runServer } from './running-server.ts'
import { connect, upgradeStatus } from './socket-client.ts'

async function flowOf(server: Awaited<ReturnType<typeof runServer>>, key?: string): Promise<string> {
  const { send } = server
  const thread = (await send('POST', '/api/v1/threads', { key })).json
  for (const provider of ['openai', 'anthropic', 'google']) {
    await send('PUT', `/api/v1/data-sharing/${provider}`, { key, body: { allowCrossProviderContext: true } })
  }
  const flow = (await send('POST', '/api/v1/flows', { key, body: { threadId: thread.id, template: 'critique' } })).json
  return String(flow.id)
}

test('one socket executes a flow and streams it to its end', async () => {
  const server = await runServer()
  const flowId = await flowOf(server)
  const client = await connect(server.url)
  client.send({ type: 'subscribe', flowId, requestId: 'a' })
  expect(await client.next(({ type }) => type === 'subscribed')).toEqual({
    type: 'subscribed',
    requestId: 'a',
    flowId,
    afterSeq: 0,
  })
  client.send({ type: 'execute', flowId, requestId: 'b', options: { input: 'Why is the sky blue?' } })
  expect(await client.next(({ type }) => type === 'status')).toMatchObject({ requestId: 'b', status: { status: 'RUNNING' } })
  const end = await client.next(({ type }) => type === 'end')
  const updates = client.frames.filter(({ seq }) => seq !== undefined)
  expect(updates.map(({ seq }) => seq)).toEqual(updates.map((_, index) => index + 1))
  expect(end).toEqual({ type: 'end', flowId, status: 'COMPLETED', lastSeq: updates.length })
  expect(Object.keys(updates[0] ?? {}).sort()).toEqual(['data', 'flowId', 'seq', 'timestamp', 'type'])
})

test('many flows are streamed on one socket, each from its own sequence number', async () => {
  const server = await runServer()
  const flows = await Promise.all([flowOf(server), flowOf(server), flowOf(server)])
  const client = await connect(server.url)
  for (const flowId of flows) client.send({ type: 'execute', flowId, options: { input: 'hello' } })
  for (const flowId of flows) client.send({ type: 'subscribe', flowId, afterSeq: 2 })
  for (const flowId of flows) await client.next((frame) => frame.type === 'end' && frame.flowId === flowId)
  for (const flowId of flows) {
    const seqs = client.frames.filter((frame) => frame.flowId === flowId && frame.seq !== undefined).map(({ seq }) => seq)
    expect(seqs).toEqual(seqs.map((_, index) => index + 3))
  }
})

test('an invalid frame is refused with a pointer, and the next one is handled', async () => {
  const { url } = await runServer()
  const client = await connect(url)
  client.socket.send('{')
  client.socket.send(Buffer.from('{"type":"ping"}'))
  client.send({ type: 'subscribe', flowId: 7 })
  client.send({ type: 'ping', requestId: 'p' })
  await client.next(({ type }) => type === 'pong')
  const refused = client.frames.filter(({ type }) => type === 'refused')
  expect(refused).toHaveLength(3)
  expect(refused[2]).toMatchObject({ problem: { code: 'INPUT_INVALID', pointer: '#/flowId' } })
})

test('a ticket opens one socket for its user', async () => {
  const { url, send, keyOf } = await runServer()
  const key = await keyOf('ada')
  const { json } = await send('POST', '/api/v1/tickets', { key })
  const protocols = Array.isArray(json.protocols) ? json.protocols.map(String) : []
  const headers = { origin: url }
  expect(await upgradeStatus(url, { headers })).toBe(401)
  expect(await upgradeStatus(url, { headers, protocols })).toBe(101)
  expect(await upgradeStatus(url, { headers, protocols })).toBe(401)
})

test('a page of another site is refused before the upgrade, with or without a key', async () => {
  const { url, keyOf } = await runServer()
  expect(await upgradeStatus(url, { headers: { origin: 'https://evil.example' } })).toBe(403)
  const key = await keyOf('ada')
  expect(await upgradeStatus(url, { key, headers: { origin: 'https://evil.example' } })).toBe(403)
  expect(await upgradeStatus(url, { key, headers: { host: 'evil.example' } })).toBe(421)
  expect(await upgradeStatus(url, {})).toBe(401)
})

test('a client that reconnects misses no update and gets none twice on a socket', async () => {
  const server = await runServer()
  const flowId = await flowOf(server)
  const first = await connect(server.url)
  first.send({ type: 'subscribe', flowId })
  first.send({ type: 'execute', flowId, options: { input: 'hello' } })
  await first.next(({ seq }) => seq === 4)
  first.socket.terminate()
  const seen = first.frames.flatMap(({ seq }) => (typeof seq === 'number' ? [seq] : []))
  const second = await connect(server.url)
  second.send({ type: 'subscribe', flowId, afterSeq: seen.at(-1) })
  await second.next(({ type }) => type === 'end')
  const rest = second.frames.flatMap(({ seq }) => (typeof seq === 'number' ? [seq] : []))
  expect([...seen, ...rest]).toEqual([...seen, ...rest].map((_, index) => index + 1))
})
