import { beforeAll, describe, expect, test } from 'vitest'
import { createAnthropicProvider } from '../../src/providers/anthropic/anthropic.ts'
import { createGoogleProvider } from '../../src/providers/google/google.ts'
import { createOpenAiProvider } from '../../src/providers/openai/openai.ts'
import type { Provider } from '../../src/providers/provider.ts'

/** What the vendor answers next. The account's own `fetch` stands for the network. */
let next: { readonly body: string; readonly type: string }
const kinds: { readonly name: string; readonly whole: unknown; readonly events: readonly unknown[]; provider?: Provider }[] = [
  {
    name: 'chat',
    whole: { choices: [{ index: 0, message: { content: 'Hello' }, finish_reason: 'stop' }] },
    events: [
      { choices: [{ index: 0, delta: { content: 'Hel' } }] },
      { choices: [{ index: 0, delta: { content: 'lo' }, finish_reason: 'stop' }] },
    ],
  },
  {
    name: 'messages',
    whole: { type: 'message', content: [{ type: 'text', text: 'Hello' }], stop_reason: 'end_turn', usage: {} },
    events: [
      { type: 'message_start', message: { content: [], usage: {} } },
      { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Hello' } },
      { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: {} },
      { type: 'message_stop' },
    ],
  },
  {
    name: 'gemini',
    whole: { candidates: [{ content: { parts: [{ text: 'Hello' }] }, finishReason: 'STOP' }] },
    events: [{ candidates: [{ content: { parts: [{ text: 'Hello' }] }, finishReason: 'STOP' }] }],
  },
]

beforeAll(async () => {
  const fetch = async () => new Response(next.body, { headers: { 'content-type': next.type } })
  const account = {
    id: 'desk',
    vendor: 'desk',
    simulated: false,
    apiKey: 'test-key-1234',
    baseUrl: 'http://models.invalid',
    fetch,
  }
  const [chat, messages, gemini] = kinds
  if (chat) chat.provider = await createOpenAiProvider({ ...account, api: 'chat' })
  if (messages) messages.provider = await createAnthropicProvider(account)
  if (gemini) gemini.provider = await createGoogleProvider(account)
})

const toEvents = (events: readonly unknown[], end = '\n') =>
  events.map((event) => `data: ${JSON.stringify(event)}${end}${end}`).join('')

function ask(provider: Provider | undefined, streams: boolean, body: string, type: string) {
  if (!provider) throw new Error('The provider was not built')
  next = { body, type }
  const { signal } = new AbortController()
  const request = { model: 'm', messages: [{ role: 'user' as const, content: 'Say something.' }], settings: {} }
  return provider.generate(request, { signal, ...(streams && { onDelta: () => undefined }) })
}

const SSE = 'text/event-stream'
const JSON_TYPE = 'application/json'

describe.each(kinds.map((kind) => [kind.name, kind] as const))('an answer over %s', (_, kind) => {
  test.each([
    ['a stream where a plain answer was asked for', false, () => toEvents(kind.events), SSE],
    ['a stream that is called JSON', true, () => toEvents(kind.events), JSON_TYPE],
    ['a stream that is called JSON, for a plain request', false, () => toEvents(kind.events), JSON_TYPE],
    ['JSON where a stream was asked for', true, () => JSON.stringify(kind.whole), JSON_TYPE],
    ['JSON that is called a stream', true, () => JSON.stringify(kind.whole, null, 2), SSE],
    ['JSON that is called text', false, () => JSON.stringify(kind.whole), 'text/plain'],
    ['a stream with CR LF', true, () => toEvents(kind.events, '\r\n'), SSE],
    ['a stream with CR', true, () => toEvents(kind.events, '\r'), SSE],
    ['a stream behind a byte order mark', true, () => `\uFEFF${toEvents(kind.events)}`, SSE],
    ['JSON behind a byte order mark', false, () => `\uFEFF${JSON.stringify(kind.whole)}`, JSON_TYPE],
    ['a stream without the last empty line', true, () => toEvents(kind.events).trimEnd(), SSE],
    ['events without data', true, () => `data:\n\nevent: ping\ndata: \n\n: c\n\n${toEvents(kind.events)}`, SSE],
    [
      'data over several lines',
      true,
      () => kind.events.map((e) => `data: ${JSON.stringify(e, null, 1).replaceAll('\n', '\ndata: ')}\n\n`).join(''),
      SSE,
    ],
  ])('an answer is read from %s', async (_form, streams, body, type) => {
    expect((await ask(kind.provider, streams, body(), type)).text).toBe('Hello')
  })

  const failure = { code: 400, message: 'the request exceeds the context', type: 'invalid_request_error' }
  test.each([
    ['in a line of its own', `error: ${JSON.stringify(failure)}\n\n`],
    ['as an event of that name', `event: error\ndata: ${JSON.stringify(failure)}\n\n`],
    ['as an object of that name', `data: ${JSON.stringify({ object: 'error', ...failure })}\n\n`],
    ['as a bare body', JSON.stringify({ error: failure })],
    ['as a bare body over several lines', JSON.stringify({ error: failure }, null, 2)],
    ['in an event without a type', `data: ${JSON.stringify({ error: failure })}\n\n`],
  ])('is the error that the vendor sends %s, even after some text', async (_form, body) => {
    const expected = { code: 'PROVIDER_REJECTED', message: expect.stringContaining('exceeds the context') }
    await expect(ask(kind.provider, true, body, SSE)).rejects.toMatchObject(expected)
    await expect(ask(kind.provider, true, `${toEvents(kind.events.slice(0, 1))}${body}`, SSE)).rejects.toMatchObject(expected)
  })

  test.each([true, false])('is an error if a page of HTML arrives (streamed: %s)', async (streams) => {
    const body = '<!doctype html><p>Sign in</p>'
    await expect(ask(kind.provider, streams, body, 'text/html')).rejects.toMatchObject({
      code: 'PROVIDER_BAD_REPLY',
      message: expect.stringContaining('HTML'),
    })
  })
})
