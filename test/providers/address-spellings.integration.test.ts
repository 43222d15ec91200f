import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { httpProviderSchema, mcpServersSchema } from '../../src/config/operations/operation-settings.ts'
import type { CallOrigin } from '../../src/domain/tools/call-origin.ts'
import { createHttpOperations } from '../../src/providers/http/http-operations.ts'
import { createMcpProvider } from '../../src/providers/mcp/mcp-provider.ts'
import type { Provider } from '../../src/providers/provider.ts'
import type { ResolveName } from '../../src/system/public-addresses.ts'
import { fetchBait } from '../server/malformed/addresses.ts'
import { rejection } from '../support/caught.ts'
import { createLoopback, type Loopback, type LoopbackRequest } from '../support/loopback.ts'
import { serveOldMcp } from '../support/mcp-sse.ts'

const origin: CallOrigin = { userId: 'ada', flowId: 'f', stepId: 's', idempotencyKey: 'f/s#1', metadata: {} }
const call = (
  provider: Provider,
  model: string,
  given: Readonly<Record<string, unknown>>,
  signal = AbortSignal.timeout(20_000),
) => provider.generate({ model, messages: [], settings: {}, arguments: given }, { signal, origin })

/** Nothing that a test gives may be fetched from here. */
let bait: Loopback
let shop: Loopback
let addresses: readonly string[]
const baited: LoopbackRequest[] = []
const requests: LoopbackRequest[] = []
let answer = ({ response }: LoopbackRequest): unknown => response.end('{}')

beforeAll(async () => {
  bait = await createLoopback((request) => {
    baited.push(request)
    request.response.end('bait')
  })
  shop = await createLoopback((request) => {
    requests.push(request)
    return answer(request)
  })
  addresses = fetchBait(Number(new URL(bait.url).port))
})
afterAll(() => Promise.all([bait.close(), shop.close()]))
beforeEach(() => {
  baited.length = 0
  requests.length = 0
  answer = ({ response }) => response.end('{}')
})

function openShop(baseUrl = `${shop.url}/api`, resolve?: ResolveName): Provider {
  const operations = {
    path: { path: '/path/{at}/end' },
    query: { path: '/query', query: { at: '{at}' } },
    header: { path: '/header', headers: { 'x-at': '{at}' }, input: { type: 'object' } },
    body: { method: 'POST', path: '/body', body: { at: '{at}' }, input: { type: 'object' } },
    more: { path: '/more', input: { type: 'object' } },
  } as const
  const { kind: _, active: __, ...settings } = httpProviderSchema.parse({ kind: 'http', baseUrl, operations })
  return createHttpOperations({ ...settings, id: 'shop', environment: {}, ...(resolve && { resolve }) })
}

function openTools(url: string, resolve?: ResolveName): Provider {
  const settings = mcpServersSchema.parse({ tools: { url } }).tools
  if (!settings) throw new Error('expected settings of a server')
  return createMcpProvider('tools', settings, resolve)
}

const resolved =
  (...answers: readonly string[]): ResolveName =>
  (_, __, callback) =>
    callback(
      null,
      answers.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    )

test('no spelling of an address in an argument leads an operation away from its own path', async () => {
  expect(addresses.length).toBeGreaterThanOrEqual(120)
  const provider = openShop()
  for (const at of addresses) {
    for (const operation of ['path', 'query', 'header', 'body', 'more']) {
      await call(provider, operation, { at }).catch((error: unknown) => {
        expect(error, `${operation}: ${at}`).toMatchObject({ code: 'INPUT_INVALID' })
      })
    }
  }
  expect(baited).toEqual([])
  const prefixes = /^\/api\/(path\/[^/]+\/end$|query$|header$|body$|more$)/
  for (const { path } of requests) expect(new URL(path, shop.url).pathname).toMatch(prefixes)
  expect(requests.length).toBeGreaterThan(addresses.length * 4)
  await provider.close?.()
})

test('no redirect of an HTTP operation or of an MCP server is followed, whatever its target', async () => {
  const provider = openShop()
  for (const location of addresses) {
    answer = ({ response }) => response.writeHead(302, { location: encodeURI(location) }).end()
    expect(await rejection(call(provider, 'more', {})), location).toMatchObject({ code: 'PROVIDER_REJECTED' })
    const tools = openTools(`${shop.url}/mcp`)
    expect(await rejection(call(tools, 'echo', {})), location).toMatchObject({ code: 'PROVIDER_REJECTED' })
    await tools.close?.()
  }
  expect(baited).toEqual([])
  await provider.close?.()
})

test('an MCP server of the older transport can name no other address for messages', async () => {
  for (const at of addresses.filter((address) => !/[\r\n]/.test(address))) {
    const server = await serveOldMcp(undefined, () => at)
    const tools = openTools(`${server.url}/sse`)
    await rejection(call(tools, 'echo', { text: 'x' }))
    await Promise.all([tools.close?.(), server.close()])
  }
  expect(baited).toEqual([])
})

test('a name with an address outside the public Internet is refused before a connection', async () => {
  const port = new URL(bait.url).port
  const inside = [
    ['127.0.0.1'],
    ['127.127.127.127'],
    ['0.0.0.0'],
    ['10.0.0.1'],
    ['172.17.0.1'],
    ['192.168.0.1'],
    ['169.254.169.254'],
    ['169.254.170.2'],
    ['100.100.100.200'],
    ['192.0.0.192'],
    ['168.63.129.16'],
    ['::1'],
    ['::'],
    ['::ffff:127.0.0.1'],
    ['::ffff:169.254.169.254'],
    ['::127.0.0.1'],
    ['64:ff9b::7f00:1'],
    ['fd00:ec2::254'],
    ['fe80::1'],
    ['93.184.216.34', '127.0.0.1'],
  ]
  for (const answers of inside) {
    const provider = openShop(`http://shop.example:${port}`, resolved(...answers))
    const tools = openTools(`http://tools.example:${port}/mcp`, resolved(...answers))
    const refused = { code: 'PROVIDER_REJECTED', retryable: false }
    expect(await rejection(call(provider, 'more', {})), answers.join()).toMatchObject(refused)
    expect(await rejection(call(tools, 'echo', {})), answers.join()).toMatchObject(refused)
    await Promise.all([provider.close?.(), tools.close?.()])
  }
  expect(baited).toEqual([])
})

test('a name that is resolved anew between check and connection gains nothing', async () => {
  const port = new URL(bait.url).port
  for (const open of [
    (resolve: ResolveName) => openShop(`http://shop.example:${port}`, resolve),
    (resolve: ResolveName) => openTools(`http://tools.example:${port}/mcp`, resolve),
  ]) {
    let asked = 0
    const abort = new AbortController()
    const provider = open((name, options, callback) => {
      asked++
      // An address of the documentation (RFC 5737) would be refused; this one is public, and nothing is reached there.
      resolved(asked === 1 ? '93.184.216.34' : '127.0.0.1')(name, options, callback)
      setImmediate(() => abort.abort(new Error('seen')))
    })
    await rejection(call(provider, 'more', {}, abort.signal))
    expect(asked).toBe(1)
    await provider.close?.()
  }
  expect(baited).toEqual([])
})
