import { afterEach, expect, test } from 'vitest'
import { mcpServersSchema } from '../../src/config/operations/operation-settings.ts'
import type { CallOrigin } from '../../src/domain/tools/call-origin.ts'
import { createMcpProvider } from '../../src/providers/mcp/mcp-provider.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { rejection } from '../support/caught.ts'
import { createLoopback, type LoopbackRequest } from '../support/loopback.ts'
import { type McpHttpServer, serveMcp } from '../support/mcp-http.ts'

const origin: CallOrigin = { userId: 'ada', flowId: 'f', stepId: 's', idempotencyKey: 'f/s#1', metadata: {} }

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

function open(settings: unknown): Provider {
  const parsed = mcpServersSchema.parse({ tools: settings }).tools
  if (!parsed) throw new Error('expected settings of a server')
  const provider = createMcpProvider('tools', parsed)
  closing.push(async () => provider.close?.())
  return provider
}

const call = (
  provider: Provider,
  model: string,
  given: Readonly<Record<string, unknown>> = {},
  signal = new AbortController().signal,
) => provider.generate({ model, messages: [], settings: {}, arguments: given }, { signal, origin })

async function serve(onWait?: (signal: AbortSignal) => void): Promise<McpHttpServer> {
  const server = await serveMcp(onWait)
  closing.push(() => server.close())
  return server
}

test('tools are listed with their schemas, and called with what fits them', async () => {
  const server = await serve()
  const provider = open({
    url: `${server.url}/mcp`,
    headers: { 'x-key': 'k' },
    expose: 'api',
    tools: { sum: { approval: true, expose: 'code' } },
  })
  const operations = (await provider.operations?.()) ?? []
  const [echo, sum] = operations
  expect(echo).toMatchObject({ name: 'echo', description: 'Repeats a text', idempotent: true, approval: false, expose: 'api' })
  expect(sum).toMatchObject({ name: 'sum', idempotent: false, approval: true, expose: 'code' })
  expect(echo?.check({ text: 1 })).toEqual(['arguments.text: expected string, found 1'])
  expect(echo?.check({ text: 'x' })).toEqual([])
  expect(await call(provider, 'echo', { text: 'hello' })).toMatchObject({ text: 'hello', value: 'hello' })
  expect(await call(provider, 'sum', { numbers: [1, 2] })).toMatchObject({ text: '{"total":3}', value: { total: 3 } })
  expect(server.calls).toEqual(['hello'])
  expect(server.requests.every(({ headers }) => headers['x-key'] === 'k')).toBe(true)
})

test('a list of several pages is read to its end, up to 2,000 tools, and one without an end is an error', async () => {
  let pages = 3
  const toTools = (page: number) =>
    Array.from({ length: 800 }, (_, index) => ({ name: `tool-${page}-${index}`, inputSchema: { type: 'object' } }))
  const server = await serveMcp(undefined, ({ text, response }) => {
    const { id, method, params } = text === '' ? {} : JSON.parse(text)
    if (method !== 'tools/list') return false
    const page = Number(params?.cursor ?? 1)
    const result = { tools: page > 3 ? [] : toTools(page), ...(page < pages && { nextCursor: `${page + 1}` }) }
    const facts = { resultType: 'complete', ttlMs: 0, cacheScope: 'private' }
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ jsonrpc: '2.0', id, result: { ...result, ...facts } }))
    return true
  })
  closing.push(() => server.close())
  const operations = await open({ url: `${server.url}/mcp` }).operations?.()
  expect(operations).toHaveLength(2_000)
  expect(operations?.at(-1)?.name).toBe('tool-3-399')
  pages = Number.POSITIVE_INFINITY
  expect(await rejection(call(open({ url: `${server.url}/mcp` }), 'tool-1-0'))).toMatchObject({
    code: 'PROVIDER_UNAVAILABLE',
    message: expect.stringContaining('LIST_PAGINATION_EXCEEDED'),
  })
})

test('content of every type is read', async () => {
  const server = await serve()
  const { text, files } = await call(open({ url: `${server.url}/mcp` }), 'picture')
  expect(text).toBe('notes\nx: https://example.com/x')
  expect(files?.map(({ mediaType, name, data }) => [mediaType, name, data.byteLength])).toEqual([
    ['image/png', undefined, 4],
    ['audio/wav', undefined, 4],
    ['application/octet-stream', 'data.bin', 4],
  ])
})

test('a tool that fails says why, and an unknown one is told with a similar name', async () => {
  const server = await serve()
  const provider = open({ url: `${server.url}/mcp` })
  expect(await rejection(call(provider, 'fail'))).toMatchObject({
    code: 'STEP_FAILED',
    message: 'Tool tools/fail failed: the shop is closed',
    retryable: false,
  })
  expect(await rejection(call(provider, 'ecko'))).toMatchObject({
    code: 'PROVIDER_NOT_CONFIGURED',
    details: { suggestion: 'echo' },
  })
})

test('the reason of a tool holds no secret of its server', async () => {
  const key = 'k-0123456789abcdef'
  const server = await serveMcp(undefined, ({ text, response }) => {
    const { id, method } = text === '' ? {} : JSON.parse(text)
    if (method !== 'tools/call') return false
    const content = [{ type: 'text', text: `the key ${key} is wrong` }]
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ jsonrpc: '2.0', id, result: { content, isError: true, resultType: 'complete' } }))
    return true
  })
  closing.push(() => server.close())
  const provider = open({ url: `${server.url}/mcp`, headers: { authorization: `Bearer ${key}` } })
  const error = await rejection(call(provider, 'fail'))
  expect(error).toMatchObject({ code: 'STEP_FAILED', message: 'Tool tools/fail failed: the key [redacted] is wrong' })
})

test('an abort reaches the tool and ends the call at once', async () => {
  let waiting: (signal: AbortSignal) => void = () => {}
  const begun = new Promise<AbortSignal>((resolve) => {
    waiting = resolve
  })
  const server = await serve((signal) => waiting(signal))
  const abort = new AbortController()
  const ended = rejection(call(open({ url: `${server.url}/mcp` }), 'wait', {}, abort.signal))
  const signal = await begun
  abort.abort(new Error('stop'))
  expect(await ended).toMatchObject({ message: 'stop' })
  await expect.poll(() => signal.aborted).toBe(true)
})

test('a server that is down or refuses the key is an error of the provider, and is asked again later', async () => {
  const down = open({ url: 'http://127.0.0.1:1/mcp', connectTimeoutMs: 2_000 })
  expect(await rejection(call(down, 'echo', { text: 'x' }))).toMatchObject({ code: 'PROVIDER_UNAVAILABLE' })
  let status = 401
  const real = await serve()
  const gate = await createLoopback(async ({ method, headers, text, response }) => {
    if (status !== 200) return response.writeHead(status).end('the secret key k-123 is wrong')
    try {
      const answer = await fetch(`${real.url}/mcp`, {
        method,
        headers: toHeaders(headers),
        ...(method === 'POST' && { body: text }),
      })
      response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' })
      for await (const chunk of answer.body ?? []) response.write(chunk)
      return response.end()
    } catch {
      // The server behind the gate closes first at the end of the test.
      return response.destroy()
    }
  })
  closing.push(() => gate.close())
  const provider = open({ url: `${gate.url}/mcp`, headers: { authorization: 'k-123' } })
  const error = await rejection(call(provider, 'echo', { text: 'x' }))
  expect(error).toMatchObject({ code: 'PROVIDER_AUTH' })
  expect(JSON.stringify(error)).not.toContain('k-123')
  status = 200
  expect(await call(provider, 'echo', { text: 'again' })).toMatchObject({ text: 'again' })
})

test('a redirect is refused, so that headers reach no other address', async () => {
  const target = await serve()
  const server = await createLoopback(({ response }) => response.writeHead(307, { location: `${target.url}/mcp` }).end())
  closing.push(() => server.close())
  const provider = open({ url: `${server.url}/mcp`, headers: { authorization: 'secret' } })
  expect(await rejection(call(provider, 'echo', { text: 'x' }))).toMatchObject({ code: 'PROVIDER_REJECTED' })
  expect(target.requests).toEqual([])
})

const toHeaders = (headers: LoopbackRequest['headers']): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      name === 'accept' || name === 'content-type' || name.startsWith('mcp-') ? [[name, String(value)]] : [],
    ),
  )

test('a result that is longer than maxBytes ends while it is read, and the next call is answered', async () => {
  let written = 0
  const flood = async ({ text, response }: LoopbackRequest) => {
    response.writeHead(200, { 'content-type': text.includes('stream') ? 'text/event-stream' : 'application/json' })
    response.write('data: {')
    const chunk = 'x'.repeat(65_536)
    while (!response.destroyed && written < 100_000_000) {
      if (response.writableNeedDrain) await new Promise(setImmediate)
      else {
        response.write(chunk)
        written += chunk.length
      }
    }
    response.destroy()
  }
  const server = await serveMcp(undefined, (request) => {
    const isEndless = request.text.includes('"tools/call"') && request.text.includes('endless')
    if (isEndless) void flood(request)
    return isEndless
  })
  closing.push(() => server.close())
  const provider = open({ url: `${server.url}/mcp`, maxBytes: 1_000 })
  for (const text of ['endless', 'endless stream']) {
    written = 0
    expect(await rejection(call(provider, 'echo', { text }))).toMatchObject({
      code: 'OUTPUT_INVALID',
      details: { maxBytes: 1_000 },
    })
    // The sockets hold more than was read.
    expect(written).toBeLessThan(20_000_000)
  }
  expect(await call(provider, 'echo', { text: 'short' })).toMatchObject({ text: 'short' })
})

test('a result that is too long fails its own call, and not another one of the same server', async () => {
  let begun: (answer: () => void) => void = () => {}
  const waiting = new Promise<() => void>((resolve) => {
    begun = resolve
  })
  const server = await serveMcp(undefined, ({ text, response }) => {
    const { id, method, params } = text === '' ? {} : JSON.parse(text)
    if (method !== 'tools/call') return false
    response.writeHead(200, { 'content-type': 'application/json' })
    if (params.arguments.text === 'endless') response.end('x'.repeat(200_000))
    else {
      const result = { content: [{ type: 'text', text: 'done' }], resultType: 'complete' }
      begun(() => response.end(JSON.stringify({ jsonrpc: '2.0', id, result })))
    }
    return true
  })
  closing.push(() => server.close())
  const provider = open({ url: `${server.url}/mcp`, maxBytes: 1_000 })
  const slow = call(provider, 'echo', { text: 'slow' })
  slow.catch(() => undefined)
  const answerSlow = await waiting
  expect(await rejection(call(provider, 'echo', { text: 'endless' }))).toMatchObject({ code: 'OUTPUT_INVALID' })
  answerSlow()
  expect(await slow).toMatchObject({ text: 'done' })
})
