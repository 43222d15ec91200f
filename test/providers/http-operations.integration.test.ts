import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type HttpProviderSettingsInput, httpProviderSchema } from '../../src/config/operations/operation-settings.ts'
import type { CallOrigin } from '../../src/domain/tools/call-origin.ts'
import { createHttpOperations } from '../../src/providers/http/http-operations.ts'
import type { Provider } from '../../src/providers/provider.ts'
import type { ResolveName } from '../../src/system/public-addresses.ts'
import { rejection } from '../support/caught.ts'
import { createLoopback, type Loopback, type LoopbackRequest } from '../support/loopback.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

let server: Loopback
let answer: (request: LoopbackRequest) => void = () => {}
const requests: LoopbackRequest[] = []
beforeAll(async () => {
  server = await createLoopback((request) => {
    requests.push(request)
    answer(request)
  })
})
afterAll(() => server.close())
afterEach(() => {
  requests.length = 0
})

const origin: CallOrigin = { userId: 'ada', flowId: 'f', stepId: 's', idempotencyKey: 'f/s#1', metadata: {} }

const json = (value: unknown, status = 200, headers: Readonly<Record<string, string>> = {}) => {
  answer = ({ response }) =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value))
}

type Operations = HttpProviderSettingsInput['operations']
const open = (operations: Operations, more: Partial<HttpProviderSettingsInput> = {}, resolve?: ResolveName): Provider => {
  const {
    kind: _,
    active: __,
    ...settings
  } = httpProviderSchema.parse({ kind: 'http', baseUrl: `${server.url}/api/`, operations, ...more })
  return createHttpOperations({ ...settings, id: 'shop', environment: {}, ...(resolve && { resolve }) })
}
const call = (
  provider: Provider,
  model: string,
  given: Readonly<Record<string, unknown>> = {},
  signal = new AbortController().signal,
) => provider.generate({ model, messages: [], settings: {}, arguments: given }, { signal, origin })

test('arguments fill the path, what is left goes to the query, and a pointer selects the result', async () => {
  json({ items: [{ left: 3 }] })
  const shop = open({ stock: { path: '/stock/{sku}', query: { lang: 'en', only: '{only}' }, answer: '/items/0' } })
  const response = await call(shop, 'stock', { sku: 'a/b ?#%', depth: 2, tags: ['x', 'y'] })
  expect(response).toMatchObject({ text: '{"left":3}', value: { left: 3 } })
  expect(requests[0]).toMatchObject({ method: 'GET', path: '/api/stock/a%2Fb%20%3F%23%25?lang=en&depth=2&tags=x&tags=y' })
  expect(requests[0]?.headers['idempotency-key']).toBeUndefined()
})

test('an argument that the operation does not name cannot replace what the operator has fixed', async () => {
  json({ id: 1 })
  const shop = open({
    find: { path: '/find', query: { scope: 'public', q: '{text}' } },
    order: { method: 'POST', path: '/orders', query: { dry: true }, body: { tenant: 'acme', note: '{text}' } },
  })
  const operations = (await shop.operations?.()) ?? []
  for (const [name, given, argument] of [
    ['find', { text: 'x', scope: 'private' }, 'scope'],
    ['find', { text: 'x', q: 'y' }, 'q'],
    ['order', { text: 'x', tenant: 'other' }, 'tenant'],
  ] as const) {
    const problem = `arguments.${argument}: expected no argument of this name, because the operation sets it`
    expect(operations.find((operation) => operation.name === name)?.check(given)).toEqual([problem])
    expect(await rejection(call(shop, name, given))).toMatchObject({ code: 'INPUT_INVALID' })
  }
  expect(requests).toEqual([])
  await call(shop, 'order', { text: 'x', dry: 'yes' })
  expect(requests[0]).toMatchObject({ path: '/api/orders?dry=true' })
  expect(JSON.parse(requests[0]?.text ?? '')).toEqual({ tenant: 'acme', note: 'x', dry: 'yes' })
})

test('a POST sends what is left as its body, with the key of the call, and is not idempotent', async () => {
  json({ id: 1 })
  const shop = open(
    {
      order: {
        method: 'POST',
        path: '/orders/{shop}',
        headers: { 'x-tenant': '{tenant}' },
        body: { items: '{items}', note: 'for {name}' },
      },
    },
    { headers: { authorization: 'Bearer secret-token' } },
  )
  await call(shop, 'order', { shop: 7, items: [{ sku: 'A' }], name: 'Ada', tenant: 't', extra: true })
  expect(requests[0]).toMatchObject({ path: '/api/orders/7', body: { items: [{ sku: 'A' }], note: 'for Ada', extra: true } })
  expect(requests[0]?.headers).toMatchObject({
    'idempotency-key': 'f/s#1',
    'x-tenant': 't',
    authorization: 'Bearer secret-token',
  })
  const methods = open({
    a: { path: '/' },
    b: { method: 'PUT', path: '/' },
    c: { method: 'PATCH', path: '/' },
    d: { method: 'DELETE', path: '/' },
  })
  const facts = await methods.operations?.()
  expect(facts?.map(({ idempotent }) => idempotent)).toEqual([true, true, false, true])
})

test('arguments cannot leave the path of the operation', async () => {
  const shop = open({ stock: { path: '/stock/{sku}', input: { type: 'object' } } })
  const [operation] = (await shop.operations?.()) ?? []
  const leaving = ['.', '..', 'a/../b', '../../admin', '\\..\\', '%2e%2e', '..%2fadmin', '%252e%252e%252fadmin']
  for (const sku of [...leaving, '', {}, null]) expect(operation?.check({ sku }), String(sku)).not.toEqual([])
  // Each layer takes a decoding of the whole text.
  expect(operation?.check({ sku: `%${'25'.repeat(300_000)}` })).toEqual([
    'arguments: expected values that are percent-encoded at most 16 times for the path /stock/{sku}',
  ])
  for (const sku of ['a..', 'a/b', '//host', 'x\r\nHost: y', '@host', ';', '%', 'a%2fb']) {
    expect(operation?.check({ sku })).toEqual([])
    json({})
    await call(shop, 'stock', { sku })
    expect(requests.at(-1)?.path).toBe(`/api/stock/${encodeURIComponent(sku)}`)
    expect(new URL(requests.at(-1)?.path ?? '', server.url).pathname).toBe(`/api/stock/${encodeURIComponent(sku)}`)
  }
})

test('text, JSON, files and empty answers are read by their type', async () => {
  const shop = open({ any: { path: '/any' } })
  answer = ({ response }) =>
    response.writeHead(200, { 'content-type': 'text/plain; charset=iso-8859-1' }).end(Buffer.from([0xe4]))
  expect(await call(shop, 'any')).toMatchObject({ text: 'ä', value: 'ä' })
  answer = ({ response }) => response.writeHead(200, { 'content-type': 'application/problem+json' }).end('"x"')
  expect(await call(shop, 'any')).toMatchObject({ text: 'x', value: 'x' })
  answer = ({ response }) => response.writeHead(200, { 'content-type': 'image/png' }).end(Buffer.from([1, 2, 3]))
  expect(await call(shop, 'any')).toMatchObject({
    value: { mediaType: 'image/png', byteLength: 3 },
    files: [{ mediaType: 'image/png', data: Buffer.from([1, 2, 3]) }],
  })
  answer = ({ response }) => response.writeHead(204).end()
  expect(await call(shop, 'any')).toMatchObject({ text: '', value: null })
  answer = ({ response }) => response.writeHead(200, { 'content-type': 'application/json' }).end('{"cut":')
  expect(await rejection(call(shop, 'any'))).toMatchObject({ code: 'OUTPUT_INVALID' })
})

test('an answer longer than maxBytes, and one without the value of the pointer, are unusable', async () => {
  const shop = open({ small: { path: '/', maxBytes: 10 }, pointed: { path: '/', answer: '/a~1b' } })
  json({ text: 'more than ten bytes' })
  expect(await rejection(call(shop, 'small'))).toMatchObject({ code: 'OUTPUT_INVALID' })
  expect(await rejection(call(shop, 'pointed'))).toMatchObject({ code: 'OUTPUT_INVALID' })
  json({ 'a/b': 4 })
  expect(await call(shop, 'pointed')).toMatchObject({ text: '4', value: 4 })
})

test.each([
  [401, 'PROVIDER_AUTH'],
  [403, 'PROVIDER_AUTH'],
  [404, 'PROVIDER_REJECTED'],
  [429, 'PROVIDER_RATE_LIMITED'],
  [500, 'PROVIDER_UNAVAILABLE'],
  [302, 'PROVIDER_REJECTED'],
])('status %i is %s, without secrets and arguments in its message', async (status, code) => {
  json({ error: { message: 'token secret-token and a private argument of some length' } }, status, {
    location: 'http://127.0.0.1:1/',
  })
  const shop = open({ any: { path: '/any' } }, { headers: { authorization: 'secret-token' } })
  const error = await rejection(call(shop, 'any', { text: 'a private argument of some length' }))
  expect(error).toMatchObject({ code })
  expect(JSON.stringify(error)).not.toMatch(/secret-token|private argument/)
  expect(requests).toHaveLength(1)
})

test('an abort closes the connection within 100 ms, and a timeout of the operation is its own error', async () => {
  let arrived = () => {}
  const begun = new Promise<void>((resolve) => {
    arrived = resolve
  })
  answer = () => arrived()
  const shop = open({ slow: { path: '/' }, bounded: { path: '/', timeoutMs: 20 } })
  const abort = new AbortController()
  const ended = rejection(call(shop, 'slow', {}, abort.signal))
  await begun
  abort.abort(new Error('stop'))
  expect(await ended).toMatchObject({ message: 'stop' })
  await requests[0]?.closed
  answer = () => {}
  expect(await rejection(call(shop, 'bounded'))).toMatchObject({
    code: 'PROVIDER_UNAVAILABLE',
    details: { timeout: 'operation' },
  })
})

test('a name that resolves to a private address is refused before a connection, unless the operator allows it', async () => {
  const { port } = new URL(server.url)
  const baseUrl = `http://shop.example:${port}/api`
  const addressed =
    (...addresses: readonly string[]): ResolveName =>
    (_, __, callback) =>
      callback(
        null,
        addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      )
  json({ ok: true })
  const refused = [
    '127.0.0.1',
    '10.0.0.1',
    '169.254.169.254',
    '168.63.129.16',
    '::1',
    'fd00:ec2::254',
    '::ffff:127.0.0.1',
    '0.0.0.0',
  ]
  for (const address of refused) {
    const shop = open({ any: { path: '/' } }, { baseUrl }, addressed(address))
    expect(await rejection(call(shop, 'any')), address).toMatchObject({ code: 'PROVIDER_REJECTED', retryable: false })
  }
  const mixed = open({ any: { path: '/' } }, { baseUrl }, addressed('93.184.216.34', '127.0.0.1'))
  expect(await rejection(call(mixed, 'any'))).toMatchObject({ code: 'PROVIDER_REJECTED' })
  expect(requests).toEqual([])
  const named = open({ any: { path: '/' } }, { baseUrl: `http://localhost:${port}` })
  expect(await call(named, 'any')).toMatchObject({ value: { ok: true } })
})

test('a flow runs an operation of the configuration, with its price per call', async () => {
  json({ left: 5 })
  const polyphony = await openTestPolyphony({
    providers: {
      shop: {
        kind: 'http',
        baseUrl: server.url,
        operations: { stock: { path: '/stock/{sku}', price: 0.25 }, free: { path: '/free' } },
      },
    },
  })
  try {
    const { id } = await polyphony.conversations.createThread('ada', {})
    const flow = await polyphony.orchestrator.createFlow(id, 'ada', {
      name: 'stock',
      type: 'sequential',
      steps: [
        { id: 'stock', model: 'shop/stock', action: 'run', arguments: { sku: '{{ original }}' } },
        { id: 'free', model: 'shop/free', action: 'run' },
      ],
    })
    const { steps, totalCost, unpricedSteps } = await polyphony.orchestrator.executeFlow(flow.id, 'ada', { input: 'A 7' })
    expect(steps[0]).toMatchObject({
      parsed: { left: 5 },
      cost: 0.25,
      costSource: 'configured',
      provider: 'shop',
      model: 'stock',
    })
    expect({ totalCost, unpricedSteps, unknown: steps[1]?.cost }).toEqual({
      totalCost: 0.25,
      unpricedSteps: 1,
      unknown: undefined,
    })
    expect(requests[0]?.path).toBe('/stock/A%207')
  } finally {
    await polyphony.close()
  }
})

test('an error of the server shows neither nested arguments nor the constant secrets of its operation', async () => {
  answer = ({ body, response }) =>
    response
      .writeHead(400, { 'content-type': 'application/json' })
      .end(JSON.stringify({ error: { message: JSON.stringify(body) } }))
  const shop = open({ order: { method: 'POST', path: '/orders', headers: { 'x-key': 'key-of-shop-1' } } })
  const error = await rejection(call(shop, 'order', { items: [{ note: 'the diary of Ada' }] }))
  expect(error).toMatchObject({ code: 'PROVIDER_REJECTED' })
  expect(String(error)).not.toContain('diary')
  answer = ({ headers, response }) =>
    response
      .writeHead(400, { 'content-type': 'application/json' })
      .end(JSON.stringify({ error: { message: `bad ${headers['x-key']}` } }))
  const refused = await rejection(call(shop, 'order', {}))
  expect(String(refused)).toContain('bad [redacted]')
})

test('half of a surrogate pair and what no header can hold are refused with the name of the argument', async () => {
  json({})
  const shop = open({
    find: { path: '/find/{name}', headers: { 'x-note': '{note}' }, query: { q: '{q}' }, input: { type: 'object' } },
  })
  const [operation] = (await shop.operations?.()) ?? []
  for (const given of [
    { name: '\ud800' },
    { name: 'a', q: ['\udc00b'] },
    { name: 'a', note: 'two\nlines' },
    { name: 'a', note: '日本' },
  ]) {
    const problems = operation?.check(given) ?? []
    expect(problems).toEqual([expect.stringMatching(/^arguments\.(name|q|note): expected (Unicode|one line)/)])
    expect(await rejection(call(shop, 'find', given))).toMatchObject({ code: 'INPUT_INVALID', details: { problems } })
  }
  await call(shop, 'find', { name: '😀', note: 'één' })
  expect(requests).toHaveLength(1)
})

test('an error holds no token of a header, also where the server repeats it without its scheme', async () => {
  const token = 'tok12345678'
  json({ error: { message: `token ${token} has no access` } }, 403)
  for (const headers of [{ authorization: `Token ${token}` }, () => ({ authorization: `Token ${token}` })]) {
    const shop = open({ stock: { path: '/stock' } }, { headers })
    const error = await rejection(call(shop, 'stock'))
    expect(error).toMatchObject({ code: 'PROVIDER_AUTH', message: expect.stringContaining('token [redacted] has no access') })
  }
})
