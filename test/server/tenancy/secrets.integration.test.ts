import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { expect, onTestFinished, test } from 'vitest'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { createServerLogger, toLogger } from '../../../src/telemetry/logs.ts'
import { createLoopback } from '../../support/loopback.ts'
import { administrate, openTestPostgres } from '../../support/postgres.ts'
import { registerSdk } from '../../telemetry/spans.ts'
import { type Answer, runServer, type SendOptions } from '../running-server.ts'
import { connect, upgradeStatus } from '../socket-client.ts'
import { type Canaries, createCanaries } from './canary-secrets.ts'
import { connectTo, createTableDump } from './world.ts'

const VENDORS = ['openai', 'anthropic', 'google', 'compatible'] as const

/** A vendor that repeats in its errors what it was sent: its key, other headers, or the request, one after the other. */
async function createGossip() {
  let asked = 0
  const vendor = await createLoopback(({ headers, path, text, response }) => {
    const {
      authorization = '',
      'x-account': account = '',
      'x-api-key': key = headers['x-goog-api-key'] ?? authorization,
    } = headers
    const sayings = [`Incorrect key: ${key}`, `Unknown account ${account}`, `Not for ${path}, ${text}`, JSON.stringify(headers)]
    const message = sayings[asked++ % sayings.length]
    response.writeHead(401, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ error: { message, type: 'invalid_request_error', code: 401, status: 'UNAUTHENTICATED' } }))
  })
  onTestFinished(() => vendor.close())
  return vendor
}

/** Makes tokens that the server believes. */
async function createIssuer() {
  const { privateKey, publicKey } = await generateKeyPair('RS256')
  const published = { ...(await exportJWK(publicKey)), kid: 'k', alg: 'RS256' }
  const keys = await createLoopback(({ response }) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ keys: [published] }))
  })
  onTestFinished(() => keys.close())
  const [issuer, audience] = ['https://issuer.example', 'polyphony']
  return {
    settings: { issuer, audience, jwksUrl: `${keys.url}/jwks` },
    tokenOf: (sub: string, exp = '1h') =>
      new SignJWT({ scope: 'read write' })
        .setProtectedHeader({ alg: 'RS256', kid: 'k' })
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject(sub)
        .setExpirationTime(exp)
        .sign(privateKey),
  }
}

async function runHouse({ secret, text }: Canaries) {
  const postgres = await openTestPostgres()
  onTestFinished(() => postgres.drop())
  const database = new URL(postgres.url)
  database.password = secret['password of the database']
  const gossip = await createGossip()
  const lines: string[] = []
  const logger = createServerLogger({ level: 'debug', destination: { write: (line) => void lines.push(line) } })
  const scripted = createScriptedProvider({ replies: () => text.output })
  const account = (apiKey: string) => ({ apiKey, baseUrl: gossip.url, headers: { 'x-account': secret['header of an account'] } })
  const issuer = await createIssuer()
  const running = await runServer(
    {
      database: database.href,
      simulator: false,
      logger: toLogger(logger),
      logLevel: 'debug',
      providers: {
        scripted,
        openai: account(secret['key of openai']),
        anthropic: account(secret['key of anthropic']),
        google: account(secret['key of google']),
        compatible: { kind: 'openai-compatible', ...account(secret['key of a compatible vendor']) },
      },
      retry: { baseDelayMs: 1, maxDelayMs: 1 },
      server: { requestsPerMinute: 100_000, maxWaitMs: 10_000, jwt: issuer.settings },
    },
    { logger },
  )
  return { ...running, lines, postgres, issuer }
}

test('secrets appear in no log, answer, frame, metric, page or row', async () => {
  const spans = registerSdk()
  onTestFinished(() => spans.close())
  const canaries = createCanaries()
  const { secret, text } = canaries
  const { url, send, polyphony, keyOf, lines, postgres, issuer } = await runHouse(canaries)
  const ada = await keyOf('ada', ['read', 'write', 'execute', 'share', 'metrics'])
  const eve = await keyOf('eve')
  const revoked = await polyphony.apiKeys.create('ada')
  await polyphony.apiKeys.revoke(revoked.key.id)
  for (const [name, token] of Object.entries({ ada, eve, revoked: revoked.token })) {
    canaries.add(`secret of the key of ${name}`, token.slice(token.lastIndexOf('_') + 1))
  }

  const tokens = { 'a token': await issuer.tokenOf('ada'), 'an expired token': await issuer.tokenOf('ada', '-1h') }
  for (const [name, token] of Object.entries(tokens))
    canaries.add(`signature of ${name}`, token.slice(token.lastIndexOf('.') + 1))

  const told: string[] = []
  const toEve: string[] = []
  const remember = (answer: Answer, kept: string[]) => {
    kept.push(`${answer.text} ${JSON.stringify([...answer.headers])}`)
    return answer
  }
  const asAda = async (method: string, path: string, options: SendOptions = {}) =>
    remember(await send(method, path, { key: ada, ...options }), told)
  const asEve = async (method: string, path: string, options: SendOptions = {}) =>
    remember(await send(method, path, { key: eve, ...options }), toEve)
  const mcp = (name: string, input: unknown): SendOptions => ({
    headers: { accept: 'application/json, text/event-stream' },
    body: { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: input } },
  })

  // A user who works, and everything she writes.
  const { id: threadId } = (await asAda('POST', '/api/v1/threads', { body: { title: text.title } })).json
  await asAda('POST', `/api/v1/threads/${threadId}/messages`, {
    headers: { 'idempotency-key': text['idempotency key'] },
    body: {
      role: 'user',
      content: text.message,
      attachments: [{ name: 'a.txt', mediaType: 'text/plain', text: text.attachment }],
      metadata: { note: text.metadata },
    },
  })
  for (const provider of ['scripted', ...VENDORS]) {
    await asAda('PUT', `/api/v1/data-sharing/${provider}`, {
      body: { allowConversationHistory: true, allowCrossProviderContext: true, allowAttachments: true },
    })
  }
  const definition = (provider: string) => ({
    name: `${text['flow name']} ${provider}`,
    type: 'sequential',
    contextPolicy: { shareConversationHistory: true },
    steps: [
      {
        id: 'draft',
        action: 'generate',
        provider,
        model: 'm',
        system: text['system prompt'],
        prompt: `${text.prompt} {{ original }}`,
        maxRetries: 1,
      },
    ],
  })
  const flows: string[] = []
  for (const provider of ['scripted', ...VENDORS]) {
    const flow = await asAda('POST', '/api/v1/flows', { body: { threadId, definition: definition(provider) } })
    expect(flow.status, flow.text).toBe(201)
    const run = `/api/v1/flows/${flow.json.id}`
    const ended = await asAda('POST', `${run}/execute?wait=10000`, {
      body: { input: text.input, metadata: { note: text.metadata } },
    })
    expect(ended.json.status, ended.text).toBe(provider === 'scripted' ? 'COMPLETED' : 'FAILED')
    for (const path of ['', '/status', '/updates']) await asAda('GET', `${run}${path}`)
    await asAda('POST', `${run}/steps/draft/execute`, { body: { input: text.input } })
    await asAda('POST', `${run}/rerun`, { body: {} })
    flows.push(String(flow.json.id))
    await asAda('GET', `/api/v1/providers/${provider}/health`)
    await asAda(
      'POST',
      '/mcp',
      mcp('start_flow', { definition: definition(provider), input: text['input of a tool'], waitMs: 5_000 }),
    )
    await asAda('POST', '/v1/chat/completions', {
      body: { model: `flow/${text['flow name']} ${provider}`, messages: [{ role: 'user', content: text['message to a model'] }] },
    })
    await asAda('POST', '/v1/responses', {
      body: {
        model: `flow/${text['flow name']} ${provider}`,
        input: text['message to a model'],
        instructions: text.instructions,
        stream: true,
      },
    })
  }
  for (const path of [
    '/api/v1/me',
    '/api/v1/threads',
    '/api/v1/flows',
    '/api/v1/providers',
    '/api/v1/usage?groupBy=flow',
    '/v1/models',
  ]) {
    await asAda('GET', path)
  }

  // Tickets, on both sides.
  const ticket = async () => {
    const answer = await send('POST', '/api/v1/tickets', { key: ada })
    canaries.add(`ticket ${answer.json.expiresAt} ${Math.random()}`, String(answer.json.ticket))
    return [`${answer.json.protocols}`.split(',')].flat()
  }
  const used = await ticket()
  await ticket()
  const socket = await connect(url, { protocols: used })
  const foreign = await connect(url, { key: eve })
  for (const [index, flowId] of flows.entries()) {
    for (const client of [socket, foreign]) {
      client.send({ type: 'subscribe', flowId, requestId: `s${index}` })
      client.send({ type: 'execute', flowId, requestId: `e${index}`, options: { input: text.input } })
      await client.next(({ requestId, type }) => requestId === `e${index}` && type !== 'subscribed')
    }
  }
  expect(await upgradeStatus(url, { protocols: used })).toBe(401)
  expect(
    await upgradeStatus(url, { protocols: ['polyphony.v1', `ticket.${secret['made-up ticket'].padEnd(43, 'x').slice(0, 43)}`] }),
  ).toBe(401)

  // Credentials in all places where somebody may put them, good and bad.
  const places: readonly SendOptions[] = [
    { headers: { authorization: `Bearer pk_0123456789abcdef_${secret['made-up key'].padEnd(43, 'x').slice(0, 43)}` } },
    { headers: { authorization: `Bearer pk_${secret['made-up key']}` } },
    { headers: { authorization: `Bearer ${secret['bearer of nobody']}` } },
    { headers: { authorization: `Basic ${secret['basic credentials']}` } },
    { headers: { authorization: `Bearer ${revoked.token}` } },
    { headers: { authorization: `Bearer ${ada}x` } },
    { headers: { authorization: ada } },
    { key: tokens['a token'] },
    { key: tokens['an expired token'] },
    { key: `${tokens['a token']}x` },
    { key: ada, headers: { cookie: `session=${secret.cookie}`, 'x-api-key': secret['x-api-key'] } },
    { key: ada, headers: { 'proxy-authorization': `Basic ${secret['proxy authorization']}` } },
    { key: ada, headers: { referer: `http://user:${secret['password in a referer']}@127.0.0.1/` } },
    { key: ada, headers: { 'x-request-id': 'fine', 'mcp-session-id': secret.session } },
    { key: ada, headers: { baggage: `secret=${secret.session}`, tracestate: `a=${secret.session}` } },
  ]
  for (const options of places) {
    for (const [method, path] of [
      ['GET', `/api/v1/me?access_token=${secret['token in a query']}&ticket=${secret['made-up ticket']}`],
      ['GET', `/api/v1/flows/${flows[0]}?key=${secret['token in a query']}`],
      ['GET', `/api/v1/nothing?key=${secret['token in a query']}`],
      ['POST', '/mcp'],
      ['POST', '/v1/chat/completions'],
      ['GET', '/metrics'],
      ['GET', '/docs/json'],
      ['GET', '/openapi.json'],
      ['GET', '/readyz'],
    ] as const) {
      const answer = await send(method, path, { ...options, ...(method === 'POST' && { body: {} }) })
      told.push(`${answer.text} ${JSON.stringify([...answer.headers])}`)
    }
  }
  for (const options of places) {
    const headers = { ...options.headers, ...(options.key && { authorization: `Bearer ${options.key}` }) }
    await upgradeStatus(url, { headers })
  }

  // Somebody else, who tries all of it.
  for (const flowId of flows) {
    for (const path of ['', '/status', '/updates']) await asEve('GET', `/api/v1/flows/${flowId}${path}`)
    await asEve('POST', `/api/v1/flows/${flowId}/execute`, { body: {} })
    await asEve('POST', '/mcp', mcp('get_flow', { flowId, stepOutputs: true }))
    await asEve('GET', `/v1/models/flow/${flowId}`)
  }
  for (const path of [
    `/api/v1/threads/${threadId}/messages`,
    '/api/v1/flows',
    '/api/v1/threads',
    '/api/v1/usage?groupBy=flow',
    '/v1/models',
    '/api/v1/data-sharing',
  ]) {
    await asEve('GET', path)
  }
  const forAll = await Promise.all(
    [
      '/openapi.json',
      '/docs',
      '/docs/json',
      '/docs/yaml',
      '/livez',
      '/readyz',
      '/health',
      '/metrics',
      '/docs/static/swagger-initializer.js',
    ].map(async (path) => (await send('GET', path, { key: ada })).text),
  )

  const dump = await createTableDump(await connectTo(postgres.url))
  const rows = [...(await dump())].map(([table, rows]) => [table, ...rows].join('\n')).join('\n')
  expect(rows).toContain(text.prompt)
  expect(rows).toContain('PROVIDER_AUTH')
  expect(canaries.secretsIn(rows), 'the database').toEqual([])

  // The database goes away under it, for a while.
  const name = new URL(postgres.url).pathname.slice(1)
  const administration = Object.assign(new URL(postgres.url), { pathname: '/postgres' }).href
  const change = (statement: string) => administrate(administration, statement)
  await change(`alter database ${name} with allow_connections false`)
  await change(`select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`)
  await change(`alter database ${name} rename to ${name}_away`)
  for (const path of ['/api/v1/threads', `/api/v1/flows/${flows[0]}`, '/readyz', '/v1/models']) {
    expect((await asAda('GET', path)).status, path).toBe(503)
  }
  await asAda('POST', '/api/v1/threads', { body: { title: text.title } })
  await change(`alter database ${name}_away rename to ${name}`)
  await change(`alter database ${name} with allow_connections true`)

  expect(canaries.count).toBeGreaterThanOrEqual(25)
  const log = lines.join('')
  expect(log).toContain('"level":"debug"')
  expect(log).toContain('flow ended')
  expect({ secrets: canaries.secretsIn(log), texts: canaries.textsIn(log) }, 'the log').toEqual({ secrets: [], texts: [] })
  const traced = spans.text()
  expect(spans.calls().length).toBeGreaterThan(10)
  // The conventions want the name of a flow on its span.
  expect({ secrets: canaries.secretsIn(traced), texts: canaries.textsIn(traced) }, 'spans').toEqual({
    secrets: [],
    texts: ['flow name'],
  })
  expect(canaries.secretsIn(told.join('\n')), 'answers').toEqual([])
  expect(canaries.secretsIn(JSON.stringify(socket.frames)), 'frames').toEqual([])
  const elsewhere = `${toEve.join('\n')} ${JSON.stringify(foreign.frames)} ${forAll.join('\n')}`
  expect({ secrets: canaries.secretsIn(elsewhere), texts: canaries.textsIn(elsewhere) }, 'what others are told').toEqual({
    secrets: [],
    texts: [],
  })
}, 120_000)
