import { request } from 'node:http'
import { describe, expect, test } from 'vitest'
import { openTestPostgres } from '../../support/postgres.ts'
import { type RunningServer, runServer } from '../running-server.ts'
import { connect, createHeldProvider, type Mode, open, REVISIONS, TWO_STEPS } from './mcp-client.ts'

/** A server with a flow that waits for its model, and every wait for that flow which was begun. */
async function runHeldFlow() {
  const held = createHeldProvider()
  const server = await runServer({ simulator: false, providers: { scripted: held.provider } })
  const waits = watchWaits(server)
  const { call } = await connect(server.url)
  const { flowId } = (await call('start_flow', { definition: TWO_STEPS, input: 'the question' })).value
  await held.asked()
  const finish = async () => {
    await held.answer('a draft')
    await held.answer('an answer')
    return call('follow_flow', { flowId })
  }
  return { ...server, held, waits, flowId: String(flowId), finish }
}

/** Signals of the waits for flows, as the service is asked. */
function watchWaits({ polyphony: { orchestrator } }: RunningServer): readonly AbortSignal[] {
  const waits: AbortSignal[] = []
  const streamFlow = orchestrator.streamFlow.bind(orchestrator)
  orchestrator.streamFlow = (flowId, userId, options = {}) => {
    if (options.signal) waits.push(options.signal)
    return streamFlow(flowId, userId, options)
  }
  return waits
}

describe.each(REVISIONS)('a client that speaks $revision', ({ mode }) => {
  test('a cancelled follow_flow stops waiting, and the flow continues', async () => {
    const { url, waits, flowId, finish } = await runHeldFlow()
    const { call } = await connect(url, { mode })
    const cancelling = new AbortController()
    const waiting = call('follow_flow', { flowId, waitMs: 60_000 }, { signal: cancelling.signal })
    await expect.poll(() => waits.length).toBe(1)
    cancelling.abort()
    await expect(waiting).rejects.toThrow()
    await expect.poll(() => waits[0]?.aborted).toBe(true)
    expect((await finish()).value).toMatchObject({ status: 'COMPLETED' })
  })

  test('a cancelled start_flow stops waiting, and the flow continues', async () => {
    const held = createHeldProvider()
    const server = await runServer({ simulator: false, providers: { scripted: held.provider } })
    const waits = watchWaits(server)
    const { orchestrator, conversations } = server.polyphony
    const { call } = await connect(server.url, { mode })
    const { id: threadId } = await conversations.createThread('local')
    const cancelling = new AbortController()
    const given = { definition: TWO_STEPS, threadId, input: 'the question', waitMs: 60_000 }
    const waiting = call('start_flow', given, { signal: cancelling.signal })
    await expect.poll(() => waits.length).toBe(1)
    cancelling.abort()
    await expect(waiting).rejects.toThrow()
    await expect.poll(() => waits[0]?.aborted).toBe(true)
    await held.answer('a draft')
    await held.answer('an answer')
    await expect.poll(async () => (await orchestrator.listFlows(threadId, 'local'))[0]?.status).toBe('COMPLETED')
  })

  test('a tool call stops waiting when its client disconnects, and the flow continues', async () => {
    const { url, waits, flowId, finish } = await runHeldFlow()
    const { client, call } = await connect(url, { mode })
    const waiting = call('follow_flow', { flowId, waitMs: 60_000 })
    await expect.poll(() => waits.length).toBe(1)
    await Promise.all([expect(waiting).rejects.toThrow(), client.close()])
    await expect.poll(() => waits[0]?.aborted).toBe(true)
    expect((await finish()).value).toMatchObject({ status: 'COMPLETED' })
  })

  test('a cancellation affects no call of another client of the same user', async () => {
    const { url, waits, flowId, finish } = await runHeldFlow()
    const cancelling = new AbortController()
    const [first, second] = await Promise.all([connect(url, { mode }), connect(url, { mode })])
    // Ids of requests begin anew in every client.
    const one = first.call('follow_flow', { flowId, waitMs: 60_000 }, { signal: cancelling.signal })
    await expect.poll(() => waits.length).toBe(1)
    const other = second.call('follow_flow', { flowId, waitMs: 60_000 })
    await expect.poll(() => waits.length).toBe(2)
    cancelling.abort()
    await expect(one).rejects.toThrow()
    await expect.poll(() => waits[0]?.aborted).toBe(true)
    expect(waits[1]?.aborted).toBe(false)
    await finish()
    expect((await other).value).toMatchObject({ status: 'COMPLETED' })
  })

  test('a waiting call is answered with the current state when the time is over', async () => {
    const { url, flowId } = await runHeldFlow()
    const { call } = await connect(url, { mode })
    const answer = await call('follow_flow', { flowId, waitMs: 30 })
    expect(answer.value).toMatchObject({ status: 'RUNNING', ended: false, completedSteps: 0 })
    expect(answer.value).not.toHaveProperty('finalOutput')
    expect(answer.text).toContain('follow_flow')
  })

  test('a waiting call is answered with the current state when the server closes', async () => {
    const { url, waits, flowId, close } = await runHeldFlow()
    const { call } = await connect(url, { mode })
    const waiting = call('follow_flow', { flowId, waitMs: 60_000 })
    await expect.poll(() => waits.length).toBe(1)
    const [answer] = await Promise.all([waiting, close()])
    expect(answer.value).toMatchObject({ flowId, status: 'RUNNING', ended: false })
  })

  test('a tool call waits no longer than the server allows', async () => {
    const held = createHeldProvider()
    const { url } = await runServer({ simulator: false, providers: { scripted: held.provider }, server: { maxWaitMs: 30 } })
    const { call } = await connect(url, { mode })
    const answer = await call('start_flow', { definition: TWO_STEPS, input: 'the question', waitMs: 86_400_000 })
    expect(answer.value).toMatchObject({ ended: false })
  })

  test.each([
    ['soon, while the flow runs', 5],
    ['at the end of the flow, where nobody looked before', 60_000],
  ])('a waiting call whose key is revoked gets only that error: %s', async (_, recheckIntervalMs) => {
    const held = createHeldProvider()
    const server = await runServer(
      { simulator: false, providers: { scripted: held.provider }, policyCacheMs: 0 },
      { lookEveryMs: recheckIntervalMs },
    )
    const { url, polyphony, keyOf } = server
    const waits = watchWaits(server)
    await keyOf('user-2')
    const {
      key: { id },
      token: key,
    } = await polyphony.apiKeys.create('user-1')
    const { call } = await connect(url, { mode, key })
    const { flowId } = (await call('start_flow', { definition: TWO_STEPS, input: 'the question' })).value
    const waiting = call('follow_flow', { flowId })
    await expect.poll(() => waits.length).toBe(1)
    await held.answer('a draft')
    await held.asked()
    await polyphony.apiKeys.revoke(id)
    if (recheckIntervalMs > 1_000) await held.answer('an answer')
    expect(await waiting).toMatchObject({ isError: true, code: 'UNAUTHENTICATED', value: {} })
  })
})

test('a caller cannot cancel a call of another caller, whatever session it names', async () => {
  const held = createHeldProvider()
  const server = await runServer({ simulator: false, providers: { scripted: held.provider } })
  const waits = watchWaits(server)
  const [own, foreign] = [await server.keyOf('user-1'), await server.keyOf('user-2')]
  const { client, call } = await connect(server.url, { key: own })
  const { flowId } = (await call('start_flow', { definition: TWO_STEPS, input: 'the question' })).value
  const waiting = call('follow_flow', { flowId, waitMs: 60_000 })
  await expect.poll(() => waits.length).toBe(1)
  const session = client.transport?.sessionId ?? ''
  expect(session).not.toBe('')

  const cancelAll = async (key: string) => {
    for (let requestId = 0; requestId < 10; requestId++) {
      const { status } = await server.send('POST', '/mcp', {
        key,
        body: { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId } },
        headers: { accept: 'application/json, text/event-stream', 'mcp-session-id': session },
      })
      expect(status).toBe(202)
    }
  }
  await cancelAll(foreign)
  expect(waits[0]?.aborted).toBe(false)
  await cancelAll(own)
  await expect.poll(() => waits[0]?.aborted).toBe(true)
  await Promise.all([expect(waiting).rejects.toThrow(), client.close()])
})

test('a stream with a waiting call sends comments often enough to count as active', async () => {
  const held = createHeldProvider()
  const { url } = await runServer({
    simulator: false,
    providers: { scripted: held.provider },
    server: { sockets: { slowAfterMs: 800 } },
  })
  const given = { definition: TWO_STEPS, input: 'the question', waitMs: 500 }
  const body = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'start_flow', arguments: given } }
  const text = await new Promise<string>((resolve, reject) => {
    const headers = { accept: 'application/json, text/event-stream', 'content-type': 'application/json' }
    // A connection of its own: one that idles is closed as soon.
    const asked = request(`${url}/mcp`, { method: 'POST', headers, agent: false }, (answer) => {
      answer.toArray().then((pieces) => resolve(Buffer.concat(pieces).toString('utf8')), reject)
    })
    asked.on('error', reject).end(JSON.stringify(body))
  })
  expect(text).toContain('"ended":false')
  expect(text).toContain(': keepalive')
})

test('interleaved clients of different users in one process get their own answers', async () => {
  const { url, keyOf } = await runServer()
  const users = await Promise.all(
    (['legacy', 'auto'] satisfies Mode[]).map(async (mode, index) => {
      const key = await keyOf(`user-${index}`)
      const created = await connect(url, { mode, key })
      const { threadId } = (await created.call('create_flow', { definition: TWO_STEPS })).value
      return { created, threadId }
    }),
  )
  const answers = await Promise.all(
    Array.from({ length: 40 }, async (_, index) => {
      const user = users[index % 2]
      const answer = await user?.created.call('list_flows', { threadId: user.threadId })
      return { answer, wanted: user?.threadId }
    }),
  )
  for (const { answer, wanted } of answers) expect(answer?.value).toMatchObject({ items: [{ threadId: wanted }] })
})

test('every process that shares the database answers a client and knows its flows', async () => {
  const postgres = await openTestPostgres()
  try {
    const [first, second] = [await runServer({ database: postgres.url }), await runServer({ database: postgres.url })]
    const client = await open(first.url)
    const session = client.transport?.sessionId ?? ''
    const created = await client.callTool({ name: 'create_flow', arguments: { template: 'comparison' } })
    const flowId = Object(created.structuredContent).flowId
    const answer = await second.send('POST', '/mcp', {
      body: { jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: 'get_flow', arguments: { flowId } } },
      headers: { accept: 'application/json, text/event-stream', 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' },
    })
    expect(answer.status).toBe(200)
    expect(answer.text).toContain(`"flowId":"${flowId}"`)
    await Promise.all([first.close(), second.close()])
  } finally {
    await postgres.drop()
  }
})
