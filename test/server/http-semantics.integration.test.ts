import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { sendRaw } from './abuse/raw-request.ts'
import { type RunningServer, runServer } from './running-server.ts'

const JSON_TYPE = { 'content-type': 'application/json' }
/** Headers that differ from answer to answer. */
const UNSTEADY = [
  'date',
  'x-request-id',
  'x-ratelimit-remaining',
  'x-ratelimit-reset',
  'keep-alive',
  'connection',
  'transfer-encoding',
]

async function ask(url: string, method: string, path: string, init: RequestInit = {}) {
  const answer = await fetch(url + path, { redirect: 'manual', ...init, method })
  return { status: answer.status, headers: answer.headers, text: await answer.text() }
}

async function createFlow({ url, polyphony }: RunningServer): Promise<string> {
  const thread = await polyphony.conversations.createThread('local')
  const step = { id: 'a', model: 'openai/gpt-6-sol', action: 'generate', prompt: 'original' }
  const body = JSON.stringify({ threadId: thread.id, definition: { name: 'x', type: 'sequential', steps: [step] } })
  const { text } = await ask(url, 'POST', '/api/v1/flows', { body, headers: JSON_TYPE })
  return JSON.parse(text).id
}

test('HEAD is answered like GET, without a body', async () => {
  const running = await runServer()
  const { url } = running
  const flowId = await createFlow(running)
  const paths = ['/livez', '/readyz', '/health', '/docs', '/docs/json', '/openapi.json', '/metrics', '/v1/models', '/api/v1/me']
  const ofFlow = [`/api/v1/flows/${flowId}`, `/api/v1/flows/${flowId}/status`, `/v1/models/flow/${flowId}`]
  for (const path of [...paths, ...ofFlow, '/api/v1/flows?limit=1', '/api/v1/flows?limit=x', '/api/v1/flows/none', '/nothing']) {
    const get = await ask(url, 'GET', path)
    const head = await ask(url, 'HEAD', path)
    expect(head.status, path).toBe(get.status)
    expect(head.text, path).toBe('')
    const names = (headers: Headers) => [...headers.keys()].filter((name) => !UNSTEADY.includes(name)).sort()
    expect(names(head.headers), path).toEqual(names(get.headers))
    expect(head.headers.get('content-type'), path).toBe(get.headers.get('content-type'))
  }
})

test('HEAD of an event stream is answered at once, for callers that may read the flow', async () => {
  const running = await runServer()
  const path = `/api/v1/flows/${await createFlow(running)}/updates`
  const head = await ask(running.url, 'HEAD', path)
  expect(head.status).toBe(200)
  expect(head.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
  expect((await ask(running.url, 'HEAD', '/api/v1/flows/none/updates')).status).toBe(404)
})

test('a method that a path does not support is 405 with the methods that it supports', async () => {
  const { url } = await runServer()
  const cases = [
    ['DELETE', '/livez', 'GET, HEAD, OPTIONS'],
    ['PATCH', '/api/v1/flows/f', 'DELETE, GET, HEAD, OPTIONS'],
    ['GET', '/api/v1/flows/f/execute', 'OPTIONS, POST'],
    ['HEAD', '/api/v1/flows/f/execute', 'OPTIONS, POST'],
    ['PUT', '/api/v1/flows?limit=1', 'GET, HEAD, OPTIONS, POST'],
    ['GET', '/v1/chat/completions', 'OPTIONS, POST'],
    ['GET', '/v1/responses/', 'OPTIONS, POST'],
    ['POST', '/v1/models/flow/critique', 'GET, HEAD, OPTIONS'],
    ['PROPFIND', '/api/v1/threads', 'GET, HEAD, OPTIONS, POST'],
    ['POST', '/docs/static/swagger-ui.css', 'GET, HEAD, OPTIONS'],
    ['PATCH', '/mcp', 'OPTIONS, POST'],
    ['GET', '/mcp', 'OPTIONS, POST'],
    ['DELETE', '/mcp', 'OPTIONS, POST'],
  ] as const
  for (const [method, path, allow] of cases) {
    const { status, headers, text } = await ask(url, method, path)
    expect(status, `${method} ${path}`).toBe(405)
    expect(headers.get('allow'), `${method} ${path}`).toBe(allow)
    if (method === 'HEAD') continue
    const isOpenAi = path.startsWith('/v1/')
    expect(headers.get('content-type')).toContain(isOpenAi ? 'application/json' : 'application/problem+json')
    expect(JSON.parse(text)).toMatchObject(isOpenAi ? { error: { code: 'method_not_allowed' } } : { code: 'METHOD_NOT_ALLOWED' })
  }
  for (const path of ['/docs/static/nothing', '/docs/static/..', '/docs/static/..%5C..%5Cpackage.json']) {
    const { status } = await sendRaw(url, `GET ${path} HTTP/1.1\r\nHost: ${new URL(url).host}\r\n\r\n`)
    expect(status, path).toBe(404)
  }
  for (const path of ['/nothing', '/api/v1/flows/f/nothing', '/v1/nothing', '/api/v1', '/livezz']) {
    expect((await ask(url, 'PUT', path)).status, path).toBe(404)
  }
})

test('OPTIONS names the methods of a path, and preflights of allowed pages are answered by CORS', async () => {
  const origin = 'https://app.example.com'
  const { url } = await runServer({ server: { corsOrigins: [origin] } })
  const plain = await ask(url, 'OPTIONS', '/api/v1/flows')
  expect([plain.status, plain.headers.get('allow')]).toEqual([204, 'GET, HEAD, OPTIONS, POST'])
  expect((await ask(url, 'OPTIONS', '/nothing')).status).toBe(404)
  const all = await sendRaw(url, `OPTIONS * HTTP/1.1\r\nHost: ${new URL(url).host}\r\n\r\n`)
  expect([all.status, all.head]).toEqual([204, expect.stringMatching(/^allow: .*POST/im)])
  const preflight = await sendRaw(
    url,
    `OPTIONS /api/v1/flows HTTP/1.1\r\nHost: ${new URL(url).host}\r\nOrigin: ${origin}\r\nAccess-Control-Request-Method: POST\r\n\r\n`,
  )
  expect([preflight.status, preflight.head]).toEqual([204, expect.stringContaining(`access-control-allow-origin: ${origin}`)])
})

test('invalid JSON is 400 and JSON that does not fit the schema is 422, each in the error format of its API', async () => {
  const { url } = await runServer()
  const post = (path: string, body: string | Uint8Array<ArrayBuffer>) => ask(url, 'POST', path, { body, headers: JSON_TYPE })
  const malformed = ['{', '{"a":1}}', '{a:1}', '[1,', "{'a':1}", 'nul', ' ', '{"__proto__":{}}', '\ufeff', '{"a":NaN}']
  for (const body of [...malformed, new Uint8Array([0xff, 0xfe, 0x7b, 0x00]), new Uint8Array([0x22, 0xc3, 0x28, 0x22])]) {
    const problem = await post('/api/v1/threads', body)
    expect([problem.status, problem.headers.get('content-type')]).toEqual([400, 'application/problem+json'])
    expect(JSON.parse(problem.text)).toMatchObject({ code: 'REQUEST_MALFORMED', status: 400 })
    const ofOpenAi = await post('/v1/chat/completions', body)
    expect(ofOpenAi.status).toBe(400)
    expect(JSON.parse(ofOpenAi.text).error).toMatchObject({ type: 'invalid_request_error', code: 'request_malformed' })
  }
  for (const body of ['{"title":1}', '[]', '"text"', '{"other":1}']) {
    expect((await post('/api/v1/threads', body)).status).toBe(422)
  }
})

test('a byte order mark before JSON is ignored, and a missing body is reported as missing', async () => {
  const { url } = await runServer()
  const thread = await ask(url, 'POST', '/api/v1/threads', { body: '\ufeff{"title":"marked"}', headers: JSON_TYPE })
  expect([thread.status, JSON.parse(thread.text).title]).toEqual([201, 'marked'])
  expect((await ask(url, 'POST', '/api/v1/threads', { body: '', headers: JSON_TYPE })).status).toBe(201)
  const flow = await ask(url, 'POST', '/api/v1/flows', { body: '', headers: JSON_TYPE })
  expect([flow.status, JSON.parse(flow.text).detail]).toEqual([
    422,
    expect.stringContaining('expected a body of JSON, found none'),
  ])
})

test('a compressed body and an encoding other than UTF-8 are 415 with the accepted values', async () => {
  const { url } = await runServer()
  const post = (headers: Record<string, string>, body: string | Uint8Array<ArrayBuffer>, path = '/api/v1/threads') =>
    ask(url, 'POST', path, { body, headers: { ...JSON_TYPE, ...headers } })
  for (const coding of ['gzip', 'br', 'deflate', 'zstd', 'GZIP', 'gzip, br', 'x']) {
    for (const path of ['/api/v1/threads', '/v1/chat/completions']) {
      const refused = await post({ 'content-encoding': coding }, gzipSync('{}'), path)
      expect([coding, refused.status, refused.headers.get('accept-encoding')]).toEqual([coding, 415, 'identity'])
      expect(refused.text).toContain('Content-Encoding')
    }
  }
  expect((await post({ 'content-encoding': 'identity' }, '{}')).status).toBe(201)
  for (const charset of ['utf-16', 'UTF-16LE', 'iso-8859-1', '"windows-1252"']) {
    expect([charset, (await post({ 'content-type': `application/json; charset=${charset}` }, '{}')).status]).toEqual([
      charset,
      415,
    ])
  }
  for (const charset of ['utf-8', 'UTF-8', '"utf-8"', 'utf8']) {
    expect([charset, (await post({ 'content-type': `application/json;charset=${charset}` }, '{}')).status]).toEqual([
      charset,
      201,
    ])
  }
  const text = await post({ 'content-type': 'text/plain' }, '{}')
  expect([text.status, text.headers.get('accept')]).toEqual([415, 'application/json'])
})

test('an unknown provider is 404 with the known ones', async () => {
  const { url } = await runServer()
  for (const path of ['/api/v1/providers/nobody', '/api/v1/providers/nobody/health']) {
    const { status, text } = await ask(url, 'GET', path)
    expect([status, JSON.parse(text)]).toEqual([404, expect.objectContaining({ code: 'PROVIDER_NOT_FOUND' })])
    expect(text).toContain('openai')
  }
})

test('links on other sites may lead to pages only; loads, frames and posts of other sites are refused', async () => {
  const { url } = await runServer()
  const { host } = new URL(url)
  const from = async (line: string, site: string, mode: string, dest: string) => {
    const headers = `Sec-Fetch-Site: ${site}\r\nSec-Fetch-Mode: ${mode}\r\nSec-Fetch-Dest: ${dest}\r\n`
    return (await sendRaw(url, `${line} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${headers}Content-Length: 0\r\n\r\n`))
      .status
  }
  for (const site of ['cross-site', 'same-site']) {
    expect(await from('GET /docs', site, 'navigate', 'document')).toBe(200)
    expect(await from('HEAD /docs', site, 'navigate', 'document')).toBe(200)
    expect(await from('GET /openapi.json', site, 'navigate', 'document')).toBe(200)
    expect(await from('GET /openapi.json', site, 'no-cors', 'script')).toBe(403)
    expect(await from('POST /docs', site, 'navigate', 'document')).toBe(403)
    expect(await from('GET /docs', site, 'navigate', 'iframe')).toBe(403)
    expect(await from('GET /docs', site, 'no-cors', 'script')).toBe(403)
    expect(await from('GET /docs', site, 'cors', 'empty')).toBe(403)
    expect(await from('GET /docs', site, 'navigate', 'embed')).toBe(403)
    expect(await from('GET /api/v1/me', site, 'navigate', 'document')).toBe(403)
    expect(await from('GET /metrics', site, 'navigate', 'document')).toBe(403)
  }
})
