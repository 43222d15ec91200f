import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { TOOLS } from '../../../src/server/mcp/tools/tools.ts'
import { type RunningServer, runServer, send } from '../running-server.ts'
import { connect, TWO_STEPS } from './mcp-client.ts'

const HEADERS = { accept: 'application/json, text/event-stream' }
const STACK = /\n\s+at |\\n\s+at |node_modules/

const answering = () =>
  runServer({
    simulator: false,
    server: { requestsPerMinute: 1_000_000 },
    providers: { scripted: createScriptedProvider({ replies: () => 'an answer' }) },
  })

async function isWell(server: RunningServer): Promise<void> {
  const { call } = await connect(server.url)
  const done = await call('start_flow', { definition: TWO_STEPS, input: 'x', waitMs: 10_000 })
  expect(done.value).toMatchObject({ status: 'COMPLETED' })
}

function nested(depth: number, asList = false): unknown {
  let value: unknown = 'x'
  for (let level = 0; level < depth; level++) value = asList ? [value] : { a: value }
  return value
}

const HUGE = 'x'.repeat(300_000)
const VALUES: readonly unknown[] = [
  null,
  true,
  -1,
  1e308,
  '',
  '\0',
  '\ud800',
  HUGE,
  '{{ steps.draft.output }}',
  '../../etc/passwd',
  "' or 1=1 --",
  '__proto__',
  'constructor',
  [],
  [[[]]],
  {},
  nested(1_000),
  nested(1_000, true),
  { name: 'x', type: 'sequential', steps: nested(500, true) },
  { name: 'x', type: 'sequential', steps: Array.from({ length: 20_000 }, () => ({ id: 'a' })) },
  { toString: 1, valueOf: 1, length: -1 },
  Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`key${index}`, index])),
]
const NAMES = [
  'flowId',
  'threadId',
  'template',
  'parameters',
  'definition',
  'input',
  'limits',
  'metadata',
  'waitMs',
  'limit',
  'fromStep',
]

test('every tool answers invalid arguments with a tool error, and the server keeps running', async () => {
  const server = await answering()
  const { call } = await connect(server.url)
  for (const { name } of TOOLS) {
    for (const value of VALUES) {
      for (const argument of NAMES) {
        // Each tool gets each value in one place, and the places change with the value.
        if ((VALUES.indexOf(value) + NAMES.indexOf(argument)) % 4 !== 0) continue
        const answer = await call(name, { [argument]: value })
        expect(answer.code, `${name} ${argument}`).not.toBe('INTERNAL')
        expect(answer.text.length, `${name} ${argument}`).toBeLessThan(20_000)
        expect(JSON.stringify(answer)).not.toMatch(STACK)
      }
    }
  }
  await isWell(server)
}, 120_000)

test('a flow treats hostile text as text', async () => {
  const server = await answering()
  const { call } = await connect(server.url)
  for (const given of [{ input: HUGE }, { input: '{{ 1 | fence }}', metadata: { deep: nested(200) } }, { input: 'x\ud800' }]) {
    const answer = await call('start_flow', { definition: TWO_STEPS, waitMs: 10_000, ...given })
    expect(answer.code).not.toBe('INTERNAL')
  }
  await isWell(server)
})

/** A call with a value too deep for most who write JSON. */
const deepCall = (name: string, argument: string): string =>
  `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"${name}","arguments":{"input":"x","${argument}":${'{"a":['.repeat(20_000)}1${']}'.repeat(20_000)}}}}`

test.each([
  ...['definition', 'parameters', 'metadata', 'flowId', 'x'].map((argument) => [
    `a very deep ${argument}`,
    deepCall('start_flow', argument),
  ]),
  ['a very deep definition to check', deepCall('check_flow', 'definition')],
  ['no JSON', '{"jsonrpc":'],
  ['nothing', ''],
  ['a text', '"hello"'],
  ['a number', '1'],
  ['an empty list', '[]'],
  ['a list of anything', '[1,null,{}]'],
  ['another version', '{"jsonrpc":"1.0","id":1,"method":"tools/list"}'],
  ['no method', '{"jsonrpc":"2.0","id":1}'],
  ['a method of nobody', '{"jsonrpc":"2.0","id":1,"method":"tools/destroy"}'],
  ['an id that is an object', '{"jsonrpc":"2.0","id":{},"method":"tools/list"}'],
  ['a call without a name', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}'],
  ['a call of nothing', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"__proto__","arguments":{}}}'],
  ['arguments that are a list', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_flow","arguments":[]}}'],
  [
    'a prototype',
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_flow","arguments":{"__proto__":{"a":1}}}}',
  ],
  ['a result nobody asked for', '{"jsonrpc":"2.0","id":1,"result":{}}'],
  ['a cancellation of nothing', '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}'],
  ['a cancellation that is none', '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":{"a":1}}}'],
  [
    'a very deep message',
    `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}}`,
  ],
  [
    'a token of progress that is an object',
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_templates","_meta":{"progressToken":{}}}}',
  ],
  [
    'a revision nobody knows',
    '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2999-01-01"}}}',
  ],
  ['sampling', '{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}'],
  [
    'a subscription',
    '{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true}}}',
  ],
])('the MCP server survives %s', async (_, body) => {
  const server = await answering()
  const answer = await fetch(`${server.url}/mcp`, {
    method: 'POST',
    body,
    headers: { ...HEADERS, 'content-type': 'application/json', 'mcp-session-id': 's' },
  })
  const text = await answer.text()
  expect(answer.status).toBeLessThan(500)
  expect(text).not.toMatch(STACK)
  expect(text).not.toContain('INTERNAL')
  await isWell(server)
})

test('an oversized MCP request is refused before it is read', async () => {
  const server = await answering()
  const body = {
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: { name: 'get_flow', arguments: { flowId: 'x'.repeat(3_000_000) } },
  }
  expect(await send(server.url, 'POST', '/mcp', { body, headers: HEADERS })).toMatchObject({
    status: 413,
    json: { code: 'REQUEST_TOO_LARGE' },
  })
  const batch = Array.from({ length: 21 }, (_, id) => ({ jsonrpc: '2.0', id, method: 'tools/list' }))
  expect(await send(server.url, 'POST', '/mcp', { body: batch, headers: HEADERS })).toMatchObject({
    status: 422,
    json: { code: 'INPUT_INVALID' },
  })
  expect((await send(server.url, 'POST', '/mcp', { body: batch.slice(1), headers: HEADERS })).status).toBe(200)
  await isWell(server)
})

test('other content types are refused, because a page may send them without a preflight', async () => {
  const server = await answering()
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data', 'application/jsonx']) {
    const answer = await fetch(`${server.url}/mcp`, { method: 'POST', body: '{}', headers: { ...HEADERS, 'content-type': type } })
    expect(answer.status).toBe(415)
  }
})

test('malformed MCP messages are answered, none with a server error', async () => {
  const server = await answering()
  const name = fc.constantFrom(...TOOLS.map((tool) => tool.name), 'x', '')
  const given = fc.dictionary(fc.constantFrom(...NAMES, 'x'), fc.jsonValue({ maxDepth: 4 }), {
    maxKeys: 4,
    noNullPrototype: true,
  })
  const meta = fc.option(
    fc.dictionary(fc.constantFrom('progressToken', 'io.modelcontextprotocol/protocolVersion', 'x'), fc.jsonValue()),
  )
  const params = fc.oneof(fc.record({ name, arguments: given, _meta: meta }, { requiredKeys: [] }), fc.jsonValue())
  const method = fc.constantFrom(
    'tools/call',
    'tools/call',
    'tools/list',
    'initialize',
    'server/discover',
    'ping',
    'notifications/cancelled',
    'x',
  )
  const message = fc.record(
    { jsonrpc: fc.constantFrom('2.0', '2.0', '1.0'), id: fc.oneof(fc.nat(9), fc.jsonValue()), method, params },
    { requiredKeys: [] },
  )
  const body = fc.oneof({ weight: 5, arbitrary: message }, fc.array(message, { maxLength: 3 }), fc.jsonValue())
  const version = fc.constantFrom(undefined, '2025-11-25', '2026-07-28', '1999-01-01')
  await fc.assert(
    fc.asyncProperty(body, version, async (sent, revision) => {
      const headers = { ...HEADERS, ...(revision && { 'mcp-protocol-version': revision, 'mcp-session-id': 'one' }) }
      // Nothing here is allowed to wait long.
      const answer = await send(server.url, 'POST', '/mcp', {
        body: JSON.parse(JSON.stringify(sent).replaceAll('"waitMs"', '"limit"')),
        headers,
      })
      expect(answer.status).toBeLessThan(500)
      expect(answer.text).not.toMatch(STACK)
      expect(answer.text).not.toContain('INTERNAL')
    }),
    { numRuns: 400 },
  )
  await isWell(server)
}, 120_000)
