import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import type { PolyphonyConfigInput } from '../../../src/config/config.ts'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { createAuthenticator } from '../../../src/server/access/authenticator.ts'
import { openTestPolyphony } from '../../support/polyphony.ts'
import { openTestPostgres } from '../../support/postgres.ts'
import { runServer } from '../running-server.ts'
import { connect } from '../socket-client.ts'

const LOOK_EVERY_MS = 10

/** A flow of ada that never ends, which bea may read. */
async function followedFlow(config: PolyphonyConfigInput = {}) {
  const scripted = createScriptedProvider({ replies: () => ({ text: 'first words', hang: true }) })
  const running = await runServer({ simulator: false, providers: { scripted }, ...config }, { lookEveryMs: LOOK_EVERY_MS })
  const { polyphony } = running
  const { orchestrator, conversations, permissions, apiKeys } = polyphony
  const { id: threadId } = await conversations.createThread('ada')
  const flow = await orchestrator.createFlow(threadId, 'ada', {
    name: 'endless',
    type: 'sequential',
    steps: [{ id: 'talk', action: 'generate', provider: 'scripted', model: 'm', prompt: 'original' }],
  })
  await permissions.grant(threadId, 'ada', 'bea', ['read'])
  const keys = { ada: await apiKeys.create('ada'), bea: await apiKeys.create('bea') }
  await orchestrator.startFlow(flow.id, 'ada', { input: 'x', streaming: true })
  return { ...running, flowId: flow.id, threadId, keys }
}

/** Server-sent events as they come. */
async function openStream(url: string, flowId: string, token: string) {
  const answer = await fetch(`${url}/api/v1/flows/${flowId}/updates`, { headers: { authorization: `Bearer ${token}` } })
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  const read = async () => {
    const piece = await reader?.read()
    if (piece?.value !== undefined) text += piece.value
    return piece?.done ?? true
  }
  return {
    async until(part: string) {
      while (!text.includes(part)) if (await read()) throw new Error(`the stream ended without "${part}": ${text}`)
    },
    async toEnd() {
      while (!(await read()));
      return text
    },
  }
}

test('a reader whose right is revoked receives no more updates, on streams and on sockets', async () => {
  const { url, polyphony, flowId, threadId, keys } = await followedFlow()
  const stream = await openStream(url, flowId, keys.bea.token)
  const socket = await connect(url, { key: keys.bea.token })
  socket.send({ type: 'subscribe', flowId })
  await Promise.all([stream.until('first words'), socket.next(({ type }) => type === 'step_progress')])
  const own = await connect(url, { key: keys.ada.token })
  own.send({ type: 'subscribe', flowId })

  await polyphony.permissions.revoke(threadId, 'ada', 'bea')
  const refused = await socket.next(({ type }) => type === 'refused')
  expect(refused).toMatchObject({ flowId, problem: { code: 'FLOW_NOT_FOUND', status: 404 } })
  const events = await stream.toEnd()
  expect(events.trimEnd()).toMatch(/event: problem\ndata: [^\n]*"code":"FLOW_NOT_FOUND"[^\n]*$/)

  await polyphony.orchestrator.cancelFlow(flowId, 'ada')
  await own.next(({ type }) => type === 'end')
  socket.send({ type: 'ping' })
  await socket.next(({ type }) => type === 'pong')
  expect(socket.frames.map(({ type }) => type)).not.toContain('flow_cancelled')
})

test('a revoked key ends its streams and its sockets, and no others', async () => {
  const { url, polyphony, flowId, keys } = await followedFlow()
  const stream = await openStream(url, flowId, keys.bea.token)
  const socket = await connect(url, { key: keys.bea.token })
  const idle = await connect(url, { key: keys.bea.token })
  const own = await connect(url, { key: keys.ada.token })
  socket.send({ type: 'subscribe', flowId })
  await Promise.all([stream.until('first words'), socket.next(({ type }) => type === 'step_progress')])

  await polyphony.apiKeys.revoke(keys.bea.key.id)
  expect(await socket.closed).toEqual({ code: 4401, reason: 'no longer authenticated' })
  expect(await idle.closed).toMatchObject({ code: 4401 })
  expect((await stream.toEnd()).trimEnd()).toMatch(/event: problem\ndata: [^\n]*"code":"UNAUTHENTICATED"[^\n]*$/)
  own.send({ type: 'ping' })
  await own.next(({ type }) => type === 'pong')
})

test('a right that another process revokes is lost in this process too', async () => {
  const postgres = await openTestPostgres()
  onTestFinished(() => postgres.drop())
  const { url, flowId, threadId, keys } = await followedFlow({ database: postgres.url, policyCacheMs: 0 })
  const stream = await openStream(url, flowId, keys.bea.token)
  const socket = await connect(url, { key: keys.bea.token })
  const idle = await connect(url, { key: keys.bea.token })
  socket.send({ type: 'subscribe', flowId })
  await Promise.all([stream.until('first words'), socket.next(({ type }) => type === 'step_progress')])

  const other = await openTestPolyphony({ database: postgres.url })
  onTestFinished(() => other.close())
  await other.permissions.revoke(threadId, 'ada', 'bea')
  await socket.next(({ type }) => type === 'refused')
  expect(await stream.toEnd()).toContain('"code":"FLOW_NOT_FOUND"')
  await other.apiKeys.revoke(keys.bea.key.id)
  expect(await idle.closed).toMatchObject({ code: 4401 })
})

test('a caller is disconnected when its key or token expires', async () => {
  const { polyphony } = await runServer()
  let nowMs = Date.now()
  const authenticator = createAuthenticator({
    apiKeys: polyphony.apiKeys,
    settings: {},
    isLoopback: true,
    processTokens: { find: () => undefined, hasForm: () => false },
    now: () => nowMs,
    logger: { warn: () => {} },
  })
  const { token } = await polyphony.apiKeys.create('bea', { expiresAt: new Date(nowMs + 60_000) })
  const request = new IncomingMessage(new Socket())
  request.headers.authorization = `Bearer ${token}`
  const caller = await authenticator.authenticate(request)
  const ofToken = { ...caller, via: 'jwt' as const, keyId: undefined }
  nowMs += 59_999
  expect(await Promise.all([authenticator.isCurrent(caller), authenticator.isCurrent(ofToken)])).toEqual([true, true])
  nowMs += 1
  expect(await Promise.all([authenticator.isCurrent(caller), authenticator.isCurrent(ofToken)])).toEqual([false, false])
})
