import { createServer } from 'node:http'
import { expect, onTestFinished, test } from 'vitest'
import { listenOnLoopback } from '../../support/loopback.ts'
import { runServer, send } from '../running-server.ts'
import { runModelServer, TWO_STEPS, USER } from './model-server.ts'

const MESSAGES = [{ role: 'user', content: 'hi' }]
const deep = (levels: number): string => `${'['.repeat(levels)}${']'.repeat(levels)}`
const openAiShape = {
  error: {
    message: expect.any(String),
    type: expect.any(String),
    param: expect.toBeOneOf([expect.any(String), null]),
    code: expect.any(String),
  },
}

const BODIES: Readonly<Record<string, string>> = {
  'no JSON': '{',
  'a list': '[]',
  'a text': '"hi"',
  null: 'null',
  nothing: '',
  'only a deep list': deep(100_000),
  'deep messages': `{"model":"flow/x","messages":${deep(100_000)}}`,
  'deep content': `{"model":"flow/x","input":${deep(50_000)},"messages":[{"role":"user","content":${deep(50_000)}}]}`,
  'a deep part': `{"model":"flow/x","messages":[{"role":"user","content":[{"type":"image_url","image_url":${deep(50_000)}}]}],"input":[{"role":"user","content":[{"type":"input_image","image_url":${deep(50_000)}}]}]}`,
  'deep tools': `{"model":"flow/x","messages":[{"role":"user","content":"hi"}],"input":"hi","tools":[${deep(50_000)}]}`,
  'deep unknown fields': `{"model":"flow/x","messages":[{"role":"user","content":"hi"}],"input":"hi","unheard_of":${deep(50_000)}}`,
  'deep metadata': `{"model":"flow/x","messages":[{"role":"user","content":"hi"}],"input":"hi","metadata":{"a":${deep(50_000)}}}`,
  'too many messages': JSON.stringify({
    model: 'flow/x',
    messages: Array(5_000).fill(MESSAGES[0]),
    input: Array(5_000).fill(MESSAGES[0]),
  }),
  'a huge text': JSON.stringify({ model: 'flow/x', messages: [{ role: 'user', content: 'x'.repeat(3_000_000) }] }),
  'a model with NUL': JSON.stringify({ model: 'flow/\0', messages: MESSAGES, input: 'hi' }),
  'a model that is an object': JSON.stringify({ model: { toString: 1 }, messages: MESSAGES, input: 'hi' }),
  'a role like a method': JSON.stringify({
    model: 'flow/x',
    messages: [{ role: 'constructor', content: 'hi' }],
    input: [{ role: '__proto__', content: 'hi' }],
  }),
  'a prototype': '{"model":"flow/x","messages":[{"role":"user","content":"hi"}],"input":"hi","__proto__":{"stream":true}}',
  'numbers for everything': JSON.stringify({ model: 1, messages: 1, input: 1, stream: 1, n: 'x', metadata: 1, tools: 1 }),
  'a previous response of odd shape': JSON.stringify({
    model: 'flow/x',
    input: 'hi',
    messages: MESSAGES,
    previous_response_id: '../../x',
  }),
}

test.each(Object.entries(BODIES))("a body that is %s is refused in OpenAI's error format", async (_, body) => {
  const { url } = await runServer()
  for (const path of ['/v1/chat/completions', '/v1/responses']) {
    for (const key of [undefined, path]) {
      const headers = new Headers({ 'content-type': 'application/json' })
      if (key !== undefined) headers.set('idempotency-key', key)
      const answer = await fetch(`${url}${path}`, { method: 'POST', headers, body })
      const text = await answer.text()
      expect({ status: answer.status, text }).toMatchObject({
        status: expect.toSatisfy((status) => status >= 400 && status < 500),
      })
      expect(JSON.parse(text)).toEqual(openAiShape)
    }
  }
})

test.each([
  ['another type', { 'content-type': 'text/plain' }, 415],
  ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, 415],
  ['a page of another site', { 'content-type': 'application/json', origin: 'https://evil.example' }, 403],
  ['a key of odd shape', { 'content-type': 'application/json', 'idempotency-key': 'a b' }, 400],
])("%s is refused in OpenAI's error format", async (_, given, status) => {
  const { url } = await runServer()
  const body = JSON.stringify({ model: 'flow/critique', messages: MESSAGES })
  const headers = new Headers(Object.entries(given))
  const answer = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body })
  expect({ status: answer.status, json: await answer.json() }).toEqual({ status, json: openAiShape })
})

test.each([
  '%',
  '%zz',
  'flow%2F%00',
  'flow/%00',
  '..%2f..%2fetc',
  `flow%2F${'x'.repeat(5_000)}`,
  'flow//',
  '__proto__',
  'flow/__proto__',
])("the unknown model %s is refused in OpenAI's error format", async (path) => {
  const { url } = await runServer()
  const { status, text } = await send(url, 'GET', `/v1/models/${path}`)
  expect([400, 404]).toContain(status)
  expect(JSON.parse(text)).toEqual(openAiShape)
})

test('no address in a model request is ever fetched', async () => {
  let connections = 0
  const listening = createServer((_, response) => response.end())
  listening.on('connection', () => connections++)
  const port = await listenOnLoopback(listening)
  onTestFinished(() => void listening.close())
  const target = `http://127.0.0.1:${port}/a.png`

  const server = await runModelServer(() => 'the answer')
  await server.save(TWO_STEPS)
  const key = await server.keyOf(USER)
  const part = (fields: object) => [{ role: 'user', content: [{ type: 'text', text: `look at ${target}` }, fields] }]
  const chats = [
    part({ type: 'image_url', image_url: { url: target } }),
    part({ type: 'input_audio', input_audio: { data: target, format: 'wav' } }),
    part({ type: 'file', file: { file_id: target, file_data: target } }),
    part({ type: 'video_url', video_url: { url: target } }),
  ]
  const responses = [
    part({ type: 'input_image', image_url: target }),
    part({ type: 'input_file', file_url: target }),
    [{ type: 'item_reference', id: target }],
  ]
  const bodies = [
    ...chats.map((messages) => ['/v1/chat/completions', { model: 'flow/two steps', messages }] as const),
    ...responses.map((input) => ['/v1/responses', { model: 'flow/two steps', input }] as const),
    ['/v1/responses', { model: 'flow/two steps', input: 'hi', tools: [{ type: 'mcp', server_url: target }] }] as const,
  ]
  for (const [path, body] of bodies) {
    const { status, json } = await server.send('POST', path, { key, body })
    expect({ status, json }).toEqual({ status: 400, json: openAiShape })
  }
  // As text an address is text, and fields that are passed over stay unread.
  const plain = {
    model: 'flow/two steps',
    messages: MESSAGES,
    prediction: { url: target },
    user: target,
    metadata: { url: target },
  }
  expect((await server.send('POST', '/v1/chat/completions', { key, body: plain })).status).toBe(200)
  expect(connections).toBe(0)
})
