import { lookup } from 'node:dns'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { connect as connectTcp } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { expect, onTestFinished, test } from 'vitest'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { inParallel } from '../../faults/observation.ts'
import { createLoopback } from '../../support/loopback.ts'
import { runServer } from '../running-server.ts'
import { connect, upgradeStatus } from '../socket-client.ts'
import { fetchBait } from './addresses.ts'
import { watchConnections } from './connection-watch.ts'

interface Ask {
  readonly method?: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
}

/** A request as Node sends it: with any Host, and any target. */
function ask(
  url: string,
  key: string,
  { method = 'GET', path, headers = {}, body }: Ask,
): Promise<{ status: number; text: string }> {
  const { hostname, port } = new URL(url)
  const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      {
        hostname,
        port,
        method,
        path: path.replaceAll(/[^\x21-\x7e]/g, encodeURIComponent),
        headers: {
          authorization: `Bearer ${key}`,
          ...(bytes && { 'content-type': 'application/json', 'content-length': bytes.length }),
          ...Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.replaceAll(/[^\x20-\x7e]/g, '?')])),
        },
      },
      async (response) => {
        let text = ''
        for await (const piece of response) text += piece
        resolve({ status: response.statusCode ?? 0, text })
      },
    )
    request.on('error', reject)
    request.end(bytes)
  })
}

const PROVIDERS = ['scripted', 'openai', 'google']
const HEADERS = [
  'referer',
  'origin',
  'host',
  'x-forwarded-host',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-server',
  'forwarded',
  'via',
  'x-original-url',
  'x-rewrite-url',
  'x-host',
  'true-client-ip',
  'traceparent',
  'tracestate',
  'baggage',
  'link',
  'content-location',
  'destination',
  'profile',
  'x-wap-profile',
  'callback-url',
  'webhook-request-origin',
  'from',
  'cookie',
  'accept',
  'accept-language',
  'user-agent',
  'if-match',
  'last-event-id',
  'idempotency-key',
  'x-request-id',
  'mcp-session-id',
  'mcp-protocol-version',
  'sec-websocket-protocol',
]

/** Everything that takes text, with the address in it. */
function asksWith(
  address: string,
  { threadId, flowId, provider }: { threadId: string; flowId: string; provider: string },
): readonly Ask[] {
  const at = encodeURIComponent(address)
  const step = { id: 'draft', action: 'generate', provider, model: 'm', prompt: `Read ${address} and {{ original }}` }
  const definition = (change: object, ofStep: object = {}) => ({
    name: 'a flow',
    type: 'sequential',
    ...change,
    steps: [{ ...step, ...ofStep }],
  })
  const create = (change: object, ofStep?: object): Ask => ({
    method: 'POST',
    path: '/api/v1/flows',
    body: { threadId, definition: definition(change, ofStep) },
  })
  const schema = (extra: object) => ({
    outputSchema: { type: 'object', properties: { a: { type: 'string', ...extra } }, ...extra },
  })
  const parts = [
    { type: 'text', text: address },
    { type: 'image_url', image_url: { url: address, detail: 'high' } },
    { type: 'input_image', image_url: address },
    { type: 'input_file', file_url: address, file_id: address },
    { type: 'input_audio', input_audio: { data: address, format: 'wav' } },
    { type: 'file', file: { file_data: address, filename: address } },
  ]
  const chat = (extra: object): Ask => ({
    method: 'POST',
    path: '/v1/chat/completions',
    body: { model: `flow/${flowId}`, messages: [{ role: 'user', content: address }], ...extra },
  })
  const respond = (extra: object): Ask => ({
    method: 'POST',
    path: '/v1/responses',
    body: { model: `flow/${flowId}`, input: address, ...extra },
  })
  const tool = (name: string, input: object): Ask => ({
    method: 'POST',
    path: '/mcp',
    headers: { accept: 'application/json, text/event-stream' },
    body: { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: input } },
  })
  const tools = [
    { type: 'mcp', server_label: 'x', server_url: address },
    { type: 'web_search', filters: { allowed_domains: [address] } },
  ]
  return [
    { method: 'POST', path: '/api/v1/threads', body: { title: address } },
    {
      method: 'POST',
      path: `/api/v1/threads/${threadId}/messages`,
      body: {
        role: 'user',
        content: address,
        attachments: [
          { name: address.slice(0, 500), mediaType: address.slice(0, 200), text: address },
          { name: 'a', mediaType: 'text/uri-list', text: address },
        ],
        metadata: { url: address, href: address, $ref: address, image_url: { url: address }, provider: address },
      },
    },
    { method: 'PUT', path: `/api/v1/threads/${threadId}/permissions/${at}`, body: { rights: ['read'] } },
    { method: 'PUT', path: `/api/v1/data-sharing/${at}`, body: { allowAttachments: true } },
    { path: `/api/v1/providers/${at}` },
    { path: `/api/v1/providers/${at}/health` },
    { path: `/api/v1/templates/${at}` },
    {
      method: 'POST',
      path: '/api/v1/templates/critique/instantiate',
      body: { parameters: { generateModel: address, url: address } },
    },
    { path: `/api/v1/flows?threadId=${at}&cursor=${at}&url=${at}` },
    { path: `/api/v1/usage?flowId=${at}&groupBy=${at}` },
    { path: `/api/v1/flows/${at}` },
    { path: `/docs/static/${at}` },
    { path: `/docs/${address}` },
    { path: `/api/v1/threads?url=${at}` },
    { path: address },
    {
      method: 'POST',
      path: '/api/v1/flows/check',
      body: {
        definition: definition({}, { model: address, provider: address, fallbacks: [{ provider: address, model: address }] }),
      },
    },
    create({ description: address, input: address, version: address.slice(0, 50) }),
    create({ name: address.slice(0, 100) }, { system: address, prompt: `{% include "${address}" %}{% render "${address}" %}` }),
    create({}, { agent: address }),
    create({}, { baseUrl: address, url: address }),
    create({ $schema: address, $ref: address, webhook: address, callbackUrl: address }),
    create({}, schema({ $ref: address })),
    create({}, schema({ $schema: address, $id: address, $dynamicRef: address, $comment: address })),
    create({}, { model: address.slice(0, 200) }),
    {
      method: 'POST',
      path: `/api/v1/flows/${flowId}/execute?wait=5000`,
      body: { input: address, metadata: { url: address }, webhook: address },
    },
    { method: 'POST', path: `/api/v1/flows/${flowId}/steps/draft/execute`, body: { input: address } },
    { method: 'POST', path: `/api/v1/flows/${flowId}/rerun`, body: { fromStep: address } },
    ...parts.map((part) => chat({ messages: [{ role: 'user', content: [part] }] })),
    chat({ tools, tool_choice: address, response_format: { type: 'json_schema', json_schema: { schema: { $ref: address } } } }),
    chat({
      model: address,
      user: address,
      metadata: { url: address },
      prediction: { content: address },
      web_search_options: { url: address },
    }),
    chat({ base_url: address, api_base: address, extra_body: { base_url: address } }),
    ...parts.map((part) => respond({ input: [{ role: 'user', content: [part] }] })),
    respond({ instructions: address, previous_response_id: address, metadata: { url: address } }),
    respond({ tools, prompt: { id: address }, conversation: address, include: [address] }),
    { path: `/v1/models/${at}` },
    { path: `/v1/responses/${at}` },
    tool('start_flow', {
      definition: definition({}, { model: address.slice(0, 200) }),
      input: address,
      metadata: { url: address },
      waitMs: 5_000,
    }),
    tool('describe_template', { template: address, parameters: { url: address } }),
    tool('get_flow', { flowId: address }),
    { method: 'POST', path: '/mcp', body: { jsonrpc: '2.0', id: 1, method: 'resources/read', params: { uri: address } } },
    {
      method: 'POST',
      path: '/mcp',
      body: {
        jsonrpc: '2.0',
        id: 1,
        method: 'initialize',
        params: {
          protocolVersion: address,
          capabilities: { roots: { url: address } },
          clientInfo: { name: address, version: '1', websiteUrl: address, icons: [{ src: address }] },
        },
      },
    },
    ...HEADERS.map((name) => ({ path: '/api/v1/me', headers: { [name]: address } })),
  ]
}

test('no address in a request is ever fetched', async () => {
  const watch = await watchConnections()
  const addresses = fetchBait(watch.baitPort)
  expect(new Set(addresses).size).toBeGreaterThanOrEqual(120)
  const portOf = (url: string) => Number(new URL(url).port)

  const answer = {
    id: 'x',
    object: 'chat.completion',
    model: 'm',
    choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: 'words' } }],
    usage: {},
  }
  const gone: string[] = []
  const vendor = await createLoopback(({ path, response }) => {
    gone.push(path.replace(/\?.*$/, ''))
    const isAway = path.includes('redirect')
    response.writeHead(isAway ? 302 : 200, {
      'content-type': 'application/json',
      ...(isAway && { location: `http://127.0.0.1:${watch.baitPort}/bait` }),
    })
    response.end(
      JSON.stringify(
        path.includes('generateContent')
          ? { candidates: [{ content: { parts: [{ text: 'words' }] }, finishReason: 'STOP' }] }
          : answer,
      ),
    )
  })
  onTestFinished(() => vendor.close())
  const { privateKey, publicKey } = await generateKeyPair('RS256')
  const jwks = await createLoopback(async ({ response }) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'RS256' }] }))
  })
  onTestFinished(() => jwks.close())
  for (const { url } of [vendor, jwks]) watch.allow(portOf(url))

  const scripted = createScriptedProvider({ replies: ({ messages }) => `I read ${messages.at(-1)?.content}` })
  const { url, keyOf, polyphony } = await runServer({
    simulator: false,
    providers: {
      scripted,
      openai: { apiKey: 'sk-x', baseUrl: vendor.url, api: 'chat' },
      google: { apiKey: 'AIza-x', baseUrl: vendor.url },
    },
    retry: { baseDelayMs: 1, maxDelayMs: 1 },
    server: {
      requestsPerMinute: 10_000_000,
      jwt: { issuer: 'https://issuer.example', audience: 'polyphony', jwksUrl: `${jwks.url}/jwks` },
    },
  })
  watch.allow(portOf(url))
  const key = await keyOf('ada')
  const flowFor = async (provider: string) => {
    const { id: threadId } = await polyphony.conversations.createThread('ada')
    const step = {
      id: 'draft',
      action: 'generate' as const,
      provider,
      model: 'm',
      prompt: '{{ original }} {% if metadata.url %}{{ metadata.url }}{% endif %}',
    }
    const { id: flowId } = await polyphony.orchestrator.createFlow(threadId, 'ada', {
      name: 'a flow',
      type: 'sequential',
      steps: [step],
    })
    return { threadId, flowId, provider }
  }

  watch.forget()
  const failed: string[] = []
  let done = 0
  await inParallel(addresses, 4, async (address) => {
    // What leads up a path is tried where models stand in one.
    const provider =
      address.includes('.') && !address.includes('//')
        ? 'google'
        : (PROVIDERS[addresses.indexOf(address) % PROVIDERS.length] ?? 'google')
    for (const asked of asksWith(address, await flowFor(provider))) {
      const { status, text } = await ask(url, key, asked)
      if (status < 300) done++
      if (status >= 500 && !text.includes('PROVIDER_') && !text.includes('provider_'))
        failed.push(`${status} ${asked.path} ${JSON.stringify(asked.body)} ${text}`)
    }
    const nowS = Math.floor(Date.now() / 1_000)
    for (const header of [{ jku: address }, { x5u: address }, { kid: address }, { iss: address }, { jwk: { x5u: address } }]) {
      const token = await new SignJWT({ iss: address, aud: address, sub: address, exp: nowS + 60, jwks_uri: address })
        .setProtectedHeader({ alg: 'RS256', ...header })
        .sign(privateKey)
      expect((await ask(url, token, { path: '/api/v1/me' })).status).toBe(401)
    }
    const headers = { origin: address.replaceAll(/[^\x21-\x7e]/g, '?') }
    expect(await upgradeStatus(url, { key, headers })).toBeGreaterThanOrEqual(400)
    const client = await connect(url, { key })
    const { flowId } = await flowFor(provider)
    client.send({ type: 'subscribe', flowId: address.slice(0, 200) })
    client.send({ type: 'execute', flowId, requestId: 'x', options: { input: address, metadata: { url: address } } })
    client.send({ type: 'ping', requestId: address.slice(0, 200) })
    await client.next(({ requestId }) => requestId === 'x')
    client.socket.terminate()
  })
  expect(failed.slice(0, 5), `${failed.length} of them`).toEqual([])
  // Most of it is taken, and some of it sent to models: as text.
  expect(done).toBeGreaterThan(addresses.length * 30)
  expect(watch.attempts).toEqual([])
  expect(watch.bites).toBe(0)
  // Nobody who names a model chooses another address of the vendor.
  expect(new Set(gone.filter((path) => path !== '/chat/completions' && !/^\/v1beta\/.*enerateContent$/.test(path)))).toEqual(
    new Set(),
  )

  // The watch itself: it sees who takes the bait, and who only asks for its name.
  await once(connectTcp(watch.baitPort, '127.0.0.1'), 'close')
  await new Promise((resolve) => lookup('localhost', resolve))
  expect(watch.attempts).toEqual([`127.0.0.1:${watch.baitPort}`, 'name localhost'])
  expect(watch.bites).toBe(1)
}, 120_000)
