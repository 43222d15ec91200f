import { describe, expect, test } from 'vitest'
import type { Scope } from '../../../src/domain/users/api-key.ts'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { TOOLS } from '../../../src/server/mcp/tools/tools.ts'
import { type RunningServer, runServer, type SendOptions } from '../running-server.ts'
import { connect, createHeldProvider, open, REVISIONS, TWO_STEPS } from './mcp-client.ts'

const ACCEPT = 'application/json, text/event-stream'
const INITIALIZE = {
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
}

const sendTo = ({ send }: RunningServer, { headers, ...options }: SendOptions = {}, method = 'POST') =>
  send(method, '/mcp', { ...(method === 'POST' && { body: INITIALIZE }), ...options, headers: { accept: ACCEPT, ...headers } })

describe('the route', () => {
  test('MCP requires a key once there are keys', async () => {
    const server = await runServer()
    expect((await sendTo(server)).status).toBe(200)
    const other = await runServer()
    const key = await other.keyOf('user-1')
    expect(await sendTo(other)).toMatchObject({ status: 401, json: { code: 'UNAUTHENTICATED' } })
    expect(await sendTo(other, { key: `${key}x` })).toMatchObject({ status: 401, json: { code: 'UNAUTHENTICATED' } })
    expect(await sendTo(other, { key })).toMatchObject({ status: 200 })
    await expect(open(other.url)).rejects.toThrow()
  })

  test.each(REVISIONS)('MCP refuses a key from the moment it is revoked ($revision)', async ({ mode }) => {
    const { url, polyphony, keyOf } = await runServer({ policyCacheMs: 0 })
    await keyOf('user-2')
    const { key, token } = await polyphony.apiKeys.create('user-1')
    const { call } = await connect(url, { mode, key: token })
    expect(await call('list_templates')).toMatchObject({ isError: false })
    await polyphony.apiKeys.revoke(key.id)
    await expect(call('list_templates')).rejects.toThrow(/401|Unauthorized/i)
  })

  test('MCP refuses a key without the scope read', async () => {
    const server = await runServer()
    const key = await server.keyOf('user-1', ['execute'])
    expect(await sendTo(server, { key })).toMatchObject({ status: 403, json: { code: 'PERMISSION_DENIED' } })
  })

  test.each([
    [{ host: 'evil.example' }, 421, 'HOST_REFUSED'],
    [{ host: '127.0.0.1.evil.example:4100' }, 421, 'HOST_REFUSED'],
    [{ origin: 'https://evil.example' }, 403, 'ORIGIN_REFUSED'],
    [{ origin: 'null' }, 403, 'ORIGIN_REFUSED'],
    [{ 'sec-fetch-site': 'cross-site' }, 403, 'ORIGIN_REFUSED'],
  ])('MCP refuses foreign origins and hosts: %j', async (headers, status, code) => {
    const server = await runServer()
    const { host, ...rest } = { host: undefined, ...headers }
    const answer = host
      ? await server.server.app.inject({ method: 'POST', url: '/mcp', payload: INITIALIZE, headers: { accept: ACCEPT, host } })
      : await sendTo(server, { headers: rest })
    expect('statusCode' in answer ? answer.statusCode : answer.status).toBe(status)
    expect('statusCode' in answer ? answer.json() : answer.json).toMatchObject({ code })
  })

  test('MCP has no sessions to stream or end', async () => {
    const server = await runServer()
    for (const method of ['GET', 'DELETE', 'PUT']) {
      const answer = await sendTo(server, { headers: { 'mcp-session-id': 'x' } }, method)
      expect(answer.status).toBe(405)
      expect(answer.headers.get('allow')).toBe('OPTIONS, POST')
    }
  })

  test('MCP requests count against the rate limit and have the headers of all answers', async () => {
    const server = await runServer({ server: { requestsPerMinute: 3 } })
    const first = await sendTo(server)
    expect(first.headers.get('x-request-id')).toMatch(/\w/)
    expect(first.headers.get('x-content-type-options')).toBe('nosniff')
    await sendTo(server)
    await server.send('GET', '/api/v1/me')
    expect(await sendTo(server)).toMatchObject({ status: 429, json: { code: 'RATE_LIMITED' } })
  })

  test('the MCP library never receives a key', async () => {
    const server = await runServer()
    const key = await server.keyOf('user-1')
    const { call } = await connect(server.url, { key })
    for (const { name } of TOOLS) expect(JSON.stringify(await call(name))).not.toContain(key.slice(-20))
  })
})

describe('scopes', () => {
  const NEEDED: Readonly<Record<string, readonly Scope[]>> = {
    list_templates: ['read'],
    describe_template: ['read'],
    list_providers: ['read'],
    check_flow: ['read'],
    list_flows: ['read'],
    get_flow: ['read'],
    follow_flow: ['read'],
    get_usage: ['read'],
    list_waiting: ['read'],
    create_flow: ['write'],
    rerun_flow: ['write'],
    start_flow: ['execute'],
    cancel_flow: ['execute'],
    answer_waiting: ['execute'],
  }

  test('every MCP tool is in the table of scopes', () => {
    expect(Object.keys(NEEDED).sort()).toEqual(TOOLS.map(({ name }) => name).sort())
  })

  test.each(Object.entries(NEEDED))('the tool %s needs the scope %s', async (name, needed) => {
    const { url, keyOf } = await runServer()
    const enough = await connect(url, { key: await keyOf('user-1', ['read', ...needed]) })
    expect((await enough.call(name)).code).not.toBe('PERMISSION_DENIED')
    const others: Scope[] = ['read', 'write', 'execute', 'share'] satisfies Scope[]
    const lacking = others.filter((scope) => scope === 'read' || !needed.includes(scope))
    if (needed.includes('read')) return
    const less = await connect(url, { key: await keyOf('user-1', lacking) })
    expect(await less.call(name)).toMatchObject({ isError: true, code: 'PERMISSION_DENIED' })
  })

  test('starting a new flow also needs the scope write', async () => {
    const { url, keyOf } = await runServer()
    const { call } = await connect(url, { key: await keyOf('user-1', ['read', 'execute']) })
    const answer = await call('start_flow', { template: 'comparison', input: 'x' })
    expect(answer).toMatchObject({ isError: true, code: 'PERMISSION_DENIED' })
  })
})

describe('two users', () => {
  const GIVEN: readonly (readonly [string, (flowId: string) => Record<string, unknown>])[] = [
    ['get_flow', (flowId) => ({ flowId })],
    ['get_flow', (flowId) => ({ flowId, stepOutputs: true })],
    ['follow_flow', (flowId) => ({ flowId, waitMs: 1_000 })],
    ['start_flow', (flowId) => ({ flowId, input: 'x', waitMs: 1_000 })],
    ['cancel_flow', (flowId) => ({ flowId })],
    ['rerun_flow', (flowId) => ({ flowId })],
    ['rerun_flow', (flowId) => ({ flowId, fromStep: 'polish' })],
    ['get_usage', (flowId) => ({ flowId })],
    ['list_waiting', (flowId) => ({ flowId })],
    ['answer_waiting', (flowId) => ({ flowId, path: 'draft', hash: 'any', approved: true })],
  ]

  test.each(REVISIONS)('a flow of another user gets the same answer as an unknown one ($revision)', async ({ mode }) => {
    const provider = createScriptedProvider({ replies: ['a secret draft', 'a secret answer'] })
    const { url, keyOf, polyphony } = await runServer({ simulator: false, providers: { scripted: provider } })
    const owner = await connect(url, { mode, key: await keyOf('user-1') })
    const other = await connect(url, { mode, key: await keyOf('user-2') })
    const done = await owner.call('start_flow', { definition: TWO_STEPS, input: 'a secret question', waitMs: 10_000 })
    const flowId = String(done.value.flowId)
    const unknown = '01a1f7bc-0000-7000-8000-000000000000'

    for (const [name, given] of GIVEN) {
      const [foreign, guessed] = [await other.call(name, given(flowId)), await other.call(name, given(unknown))]
      expect(foreign).toMatchObject({ isError: true, code: 'FLOW_NOT_FOUND' })
      expect(JSON.stringify(foreign).replaceAll(flowId, unknown)).toBe(JSON.stringify(guessed))
      expect(JSON.stringify(foreign)).not.toContain('secret')
    }
    const { threadId } = done.value
    const intoForeign = { threadId, definition: TWO_STEPS, input: 'x' }
    for (const [name, given] of [
      ['list_flows', { threadId }],
      ['create_flow', { threadId, definition: TWO_STEPS }],
      ['start_flow', intoForeign],
    ] as const) {
      expect(await other.call(name, given)).toMatchObject({ isError: true, code: 'THREAD_NOT_FOUND' })
    }
    expect((await other.call('list_flows')).value).toEqual({ items: [] })
    expect((await other.call('get_usage', { groupBy: [] })).value).toMatchObject({ totals: { calls: 0, totalTokens: 0 } })
    expect((await owner.call('get_usage', { groupBy: [] })).value).toMatchObject({ totals: { calls: 2 } })
    expect(provider.requests).toHaveLength(2)
    expect(await polyphony.orchestrator.listFlows(String(threadId), 'user-1')).toHaveLength(1)
  })

  test('a user cannot stop a call of another user', async () => {
    const held = createHeldProvider()
    const { url, keyOf } = await runServer({ simulator: false, providers: { scripted: held.provider } })
    const owner = await connect(url, { key: await keyOf('user-1') })
    const other = await connect(url, { key: await keyOf('user-2') })
    const { flowId } = (await owner.call('start_flow', { definition: TWO_STEPS, input: 'x' })).value
    expect(await other.call('cancel_flow', { flowId })).toMatchObject({ code: 'FLOW_NOT_FOUND' })
    await held.answer('a draft')
    await held.answer('an answer')
    expect((await owner.call('follow_flow', { flowId })).value).toMatchObject({ status: 'COMPLETED' })
  })

  test('a user with read access to a flow may stream it but not cancel it', async () => {
    const { url, keyOf, polyphony } = await runServer()
    const owner = await connect(url, { key: await keyOf('user-1') })
    const reader = await connect(url, { key: await keyOf('user-2') })
    const { flowId, threadId } = (await owner.call('create_flow', { definition: TWO_STEPS })).value
    await polyphony.permissions.grant(String(threadId), 'user-1', 'user-2', ['read'])
    expect(await reader.call('get_flow', { flowId })).toMatchObject({ isError: false, value: { flowId } })
    expect(await reader.call('cancel_flow', { flowId })).toMatchObject({ isError: true, code: 'PERMISSION_DENIED' })
    expect(await reader.call('start_flow', { flowId, input: 'x' })).toMatchObject({ code: 'PERMISSION_DENIED' })
  })
})
