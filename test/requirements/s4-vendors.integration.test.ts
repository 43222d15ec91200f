// Real adapters against a loopback server that speaks the vendors' bytes (REQUIREMENTS S4-44, S4-55 to S4-58, S4-137, SPEC section 5).
//
// S4-55: temperature, maxTokens, topP and stopSequences are sent under the field names of $name
// S4-56: temperature, maxTokens, topP and stopSequences are sent under the field names of $name
// S4-57: temperature, maxTokens, topP and stopSequences are sent under the field names of $name
// S4-58: temperature, maxTokens, topP and stopSequences are sent under the field names of $name

import { expect, test } from 'vitest'
import { rejection } from '../support/caught.ts'
import { chain } from '../support/flows.ts'
import { SSE_HEADERS, sse, type VendorAnswer } from '../support/vendor-server.ts'
import { describeInMemory } from './services.ts'

interface Dialect {
  readonly name: string
  /** `provider/model` of a model that takes every setting. */
  readonly model: string
  readonly whole: (text: string) => VendorAnswer
  readonly streamed: (...pieces: string[]) => VendorAnswer
  /** The last event of the stream, without which it is cut. */
  readonly endMark: string
  /** Settings as they stand in the request. */
  readonly settings: (body: Record<string, unknown>) => unknown
  readonly sent: unknown
}

const chatUsage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 }
const chunk = (delta: object, finish_reason: string | null = null) => ({
  id: 'c1',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'answering',
  choices: [{ index: 0, delta, finish_reason }],
})
const chat = {
  whole: (text: string): VendorAnswer => ({
    body: {
      id: 'c1',
      object: 'chat.completion',
      created: 1,
      model: 'answering',
      choices: [
        { index: 0, message: { role: 'assistant', content: text, refusal: null }, finish_reason: 'stop', logprobs: null },
      ],
      usage: chatUsage,
    },
  }),
  streamed: (...pieces: string[]): VendorAnswer => ({
    headers: SSE_HEADERS,
    body: sse(
      chunk({ role: 'assistant', content: '' }),
      ...pieces.map((content) => chunk({ content })),
      chunk({}, 'stop'),
      { ...chunk({}), choices: [], usage: chatUsage },
      '[DONE]',
    ),
  }),
  endMark: 'finish_reason":"stop"',
  settings: ({ temperature, top_p, stop, max_tokens, max_completion_tokens }: Record<string, unknown>) => ({
    temperature,
    top_p,
    stop,
    max: max_tokens ?? max_completion_tokens,
  }),
  sent: { temperature: 0.3, top_p: 0.5, stop: ['END'], max: 123 },
}

const output = (text: string) => [
  {
    id: 'm1',
    type: 'message',
    role: 'assistant',
    status: 'completed',
    content: [{ type: 'output_text', text, annotations: [] }],
  },
]
const response = (status: string, texts: readonly string[]) => ({
  id: 'r1',
  object: 'response',
  created_at: 1,
  status,
  model: 'answering',
  error: null,
  incomplete_details: null,
  output: status === 'completed' ? output(texts.join('')) : [],
  usage: status === 'completed' ? { input_tokens: 10, output_tokens: 5, total_tokens: 15 } : null,
})
const responses: Dialect = {
  name: 'openai (responses)',
  model: 'answers/gpt-4.1-mini',
  whole: (text) => ({ body: response('completed', [text]) }),
  streamed: (...pieces) => ({
    headers: SSE_HEADERS,
    body: [
      { type: 'response.created', response: response('in_progress', []) },
      ...pieces.map((delta) => ({ type: 'response.output_text.delta', item_id: 'm1', output_index: 0, content_index: 0, delta })),
      { type: 'response.completed', response: response('completed', pieces) },
    ]
      .map((event) => `event: ${event.type}\n${sse(event)}`)
      .join(''),
  }),
  endMark: 'event: response.completed',
  settings: ({ temperature, top_p, max_output_tokens }) => ({ temperature, top_p, max: max_output_tokens }),
  sent: { temperature: 0.3, top_p: 0.5, max: 123 },
}

const message = (text: string) => ({
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: 'answering',
  content: text === '' ? [] : [{ type: 'text', text }],
  stop_reason: text === '' ? null : 'end_turn',
  stop_sequence: null,
  usage: { input_tokens: 4, cache_read_input_tokens: 5, cache_creation_input_tokens: 1, output_tokens: text === '' ? 1 : 5 },
})
const anthropic: Dialect = {
  name: 'anthropic',
  model: 'anthropic/claude-3-5-haiku-latest',
  whole: (text) => ({ body: message(text) }),
  streamed: (...pieces) => ({
    headers: SSE_HEADERS,
    body: [
      { type: 'message_start', message: message('') },
      { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
      { type: 'ping' },
      ...pieces.map((text) => ({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } })),
      { type: 'content_block_stop', index: 0 },
      { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: { output_tokens: 5 } },
      { type: 'message_stop' },
    ]
      .map((event) => `event: ${event.type}\n${sse(event)}`)
      .join(''),
  }),
  endMark: 'event: message_delta',
  settings: ({ temperature, top_p, stop_sequences, max_tokens }) => ({
    temperature,
    top_p,
    stop: stop_sequences,
    max: max_tokens,
  }),
  sent: { temperature: 0.3, top_p: 0.5, stop: ['END'], max: 123 },
}

const part = (text: string, finishReason?: string) => ({
  candidates: [{ index: 0, content: { role: 'model', parts: [{ text }] }, finishReason }],
  usageMetadata: { promptTokenCount: 10, candidatesTokenCount: 3, thoughtsTokenCount: 2, totalTokenCount: 15 },
  modelVersion: 'answering',
})
const google: Dialect = {
  name: 'google',
  model: 'google/gemini-2.0-flash',
  whole: (text) => ({ body: part(text, 'STOP') }),
  streamed: (...pieces) => ({
    headers: SSE_HEADERS,
    body: sse(...pieces.map((text) => part(text)), part('', 'STOP')),
  }),
  endMark: ',"finishReason":"STOP"',
  settings: ({ generationConfig }) => generationConfig,
  sent: { temperature: 0.3, topP: 0.5, stopSequences: ['END'], maxOutputTokens: 123 },
}

const DIALECTS: readonly Dialect[] = [
  { name: 'openai (chat)', model: 'openai/gpt-4.1-mini', ...chat },
  responses,
  anthropic,
  google,
  { name: 'openai-compatible', model: 'local/llama3.2', ...chat },
]

describeInMemory('vendors', (services) => {
  const only = (model: string, more: object = {}) =>
    chain({ id: 'a', model, action: 'generate', system: 'Be brief.', prompt: 'original', ...more })

  test.each(DIALECTS)(
    'answers of $name arrive complete, streamed or not, with their tokens',
    async ({ model, whole, streamed }) => {
      const usage = { inputTokens: 10, outputTokens: 5, totalTokens: 15, source: 'reported' }
      services.vendor.answer(whole('Grüße, 世界'))
      const plain = await services.run(only(model), { streaming: false })
      expect(plain.result).toMatchObject({ finalOutput: 'Grüße, 世界', totalTokens: 15, simulated: false })
      expect(plain.result.steps[0]).toMatchObject({ model: 'answering', finishReason: 'stop', usage })
      services.vendor.answer({ ...streamed('Grüße', ', ', '世界'), seed: 3 })
      const live = await services.run(only(model), { streaming: true })
      expect(live.result.steps[0]).toMatchObject({ output: 'Grüße, 世界', model: 'answering', finishReason: 'stop', usage })
      const deltas = live.updates.flatMap((update) => (update.type === 'step_progress' ? [update.data.delta] : []))
      expect(deltas.join('')).toBe('Grüße, 世界')
      const [first, second] = services.vendor.requests.slice(-2).map(({ body }) => JSON.stringify(body))
      for (const text of ['Be brief.', 'the question']) expect(first).toContain(text)
      expect(second).toContain('the question')
    },
  )

  test.each(DIALECTS)(
    'temperature, maxTokens, topP and stopSequences are sent under the field names of $name',
    async (dialect) => {
      const settings = { temperature: 0.3, maxTokens: 123, topP: 0.5, stopSequences: ['END'] }
      services.vendor.answer(dialect.whole('ok'))
      const { result } = await services.run(only(dialect.model, { settings }), { streaming: false })
      expect(dialect.settings(Object(services.vendor.requests.at(-1)?.body))).toMatchObject(Object(dialect.sent))
      // The Responses API has no stop sequences.
      if (dialect === responses) expect(result.steps[0]?.notes.join()).toMatch(/stop/i)
    },
  )

  test('settings that a reasoning model refuses are left out with a note', async () => {
    services.vendor.answer(chat.whole('ok'))
    const settings = { temperature: 0.3, maxTokens: 50 }
    const { result } = await services.run(only('openai/gpt-5.4', { settings }), { streaming: false })
    const body = Object(services.vendor.requests.at(-1)?.body)
    expect(body).not.toHaveProperty('temperature')
    expect(body).toMatchObject({ max_completion_tokens: 50 })
    expect(result.steps[0]?.notes.join()).toMatch(/temperature/)
  })

  test.each(DIALECTS)(
    'a stream of $name that ends without an end mark is not an answer',
    async ({ model, streamed, endMark }) => {
      const { headers, body } = streamed('half an', ' answer')
      const text = String(body)
      services.vendor.answer({ headers, body: text.slice(0, text.lastIndexOf('data: ', text.indexOf(endMark))) })
      const cut = services.run(only(model, { maxRetries: 0 }), { streaming: true })
      await expect(cut).rejects.toMatchObject({ code: 'PROVIDER_STREAM_CUT' })
    },
  )

  test.each(DIALECTS)('a key that $name refuses is not retried, but a busy vendor is', async ({ model, whole }) => {
    const { vendor } = services
    const error = (status: number) => ({
      status,
      body: { error: { code: status, type: 'some_error', message: 'sorry', status: 'SORRY' } },
    })
    vendor.answer(error(401))
    const before = vendor.requests.length
    await expect(services.run(only(model))).rejects.toMatchObject({ code: 'PROVIDER_AUTH', details: { stepId: 'a' } })
    expect(vendor.requests).toHaveLength(before + 1)
    vendor.answer(error(503), { ...error(429), headers: { 'retry-after-ms': '1' } }, whole('at last'))
    const { result } = await services.run(only(model, { maxRetries: 2 }), { streaming: false })
    expect(result.steps[0]).toMatchObject({ output: 'at last', retryCount: 2 })
    expect(result.steps[0]?.attempts.map(({ error }) => error?.code)).toEqual([
      'PROVIDER_UNAVAILABLE',
      'PROVIDER_RATE_LIMITED',
      undefined,
    ])
    expect(vendor.requests).toHaveLength(before + 4)
  })

  test('an exhausted quota is a 429 that is never retried', async () => {
    const { vendor } = services
    const error = {
      message: 'You exceeded your current quota',
      type: 'insufficient_quota',
      param: null,
      code: 'insufficient_quota',
    }
    vendor.answer({ status: 429, body: { error } })
    const before = vendor.requests.length
    const run = services.run(only('openai/gpt-4.1-mini', { maxRetries: 5 }))
    await expect(run).rejects.toMatchObject({ code: 'PROVIDER_QUOTA_EXHAUSTED', retryable: false })
    expect(vendor.requests).toHaveLength(before + 1)
  })

  test.each(DIALECTS)('a cancelled call of $name closes its connection', async ({ model }) => {
    const { orchestrator } = services.polyphony
    const { userId, threadId } = await services.person()
    services.vendor.answer({ instead: 'hang' })
    const flow = await orchestrator.createFlow(threadId, userId, only(model))
    const idle = services.vendor.nextIdle()
    const outcome = rejection(orchestrator.executeFlow(flow.id, userId, { input: 'x' }))
    await idle
    await orchestrator.cancelFlow(flow.id, userId)
    await services.vendor.clientClosed()
    expect(await outcome).toMatchObject({ code: 'FLOW_CANCELLED' })
  })

  test('known models have a price, and neither key nor prompt gets into an error', async () => {
    const { body } = chat.whole('ok')
    services.vendor.answer({ body: { ...Object(body), model: 'gpt-4o-mini' } })
    const { result } = await services.run(only('openai/gpt-4o-mini'), { streaming: false })
    expect(result.totalCost).toBeGreaterThan(0)
    expect(result).toMatchObject({ unpricedSteps: 0, steps: [{ costSource: 'prices' }] })
    services.vendor.answer({ status: 400, body: { error: { message: 'key-o said: SECRET-PROMPT' } } })
    const error = await rejection(services.run(only('openai/gpt-4o-mini'), { input: 'SECRET-PROMPT' }))
    expect(error).toMatchObject({ code: 'PROVIDER_REJECTED' })
    const told = `${String(error)} ${JSON.stringify(error)}`
    for (const secret of ['key-o', 'SECRET-PROMPT']) expect(told).not.toContain(secret)
  })
})
