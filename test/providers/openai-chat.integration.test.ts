import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { callFactsOf } from '../../src/domain/execution/call-facts.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { rejection } from '../support/caught.ts'
import { answerOf, askOf, createOpenAiAt, lastBodyAt, streamOf } from '../support/openai-asks.ts'
import { createVendorServer, SSE_HEADERS, sse, type VendorServer } from '../support/vendor-server.ts'

let server: VendorServer
let provider: Provider

beforeAll(async () => {
  server = await createVendorServer()
  provider = await createOpenAiAt(server)
})
afterAll(() => server.close())

const chunk = (delta: unknown, finish_reason: string | null = null, rest = {}) => ({
  model: 'gpt-4o-2024-08-06',
  choices: [{ index: 0, delta, finish_reason }],
  ...rest,
})
const whole = (message: unknown, finish_reason = 'stop', rest = {}) => ({
  body: { model: 'gpt-4o-2024-08-06', choices: [{ index: 0, message, finish_reason }], ...rest },
})
const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 }

describe('usage of Chat Completions', () => {
  test('usage is requested in streams only', async () => {
    await streamOf(provider, server, [chunk({ content: 'a' }, 'stop'), '[DONE]'])
    expect(lastBodyAt(server)).toMatchObject({ stream: true, stream_options: { include_usage: true } })
    await answerOf(provider, server, whole({ content: 'a' }))
    expect(lastBodyAt(server)).not.toHaveProperty('stream_options')
  })

  test.each([
    ['on the chunk with the finish', [chunk({ content: 'a' }), chunk({}, 'stop', { usage })]],
    ['after it, with empty choices', [chunk({ content: 'a' }, null, { usage: null }), chunk({}, 'stop'), { choices: [], usage }]],
    [
      'before a last chunk that repeats it as null',
      [chunk({ content: 'a' }), chunk({}, 'stop'), { choices: [], usage }, { choices: [], usage: null, moderation: {} }],
    ],
    ['inside the choice', [{ choices: [{ index: 0, delta: { content: 'a' }, finish_reason: 'stop', usage }] }]],
    ['in x_groq', [chunk({ content: 'a' }), chunk({}, 'stop', { x_groq: { id: 'req', usage } })]],
  ])('usage of Chat Completions is read %s', async (_, events) => {
    const answer = await streamOf(provider, server, [...events, '[DONE]'])
    expect(answer.usage).toEqual({ inputTokens: 10, outputTokens: 5, totalTokens: 15, source: 'reported' })
  })

  test('is unknown, not zero, if the vendor sends none', async () => {
    expect((await streamOf(provider, server, [chunk({ content: 'a' }, 'stop'), '[DONE]'])).usage).toEqual({ source: 'unknown' })
    expect((await answerOf(provider, server, whole({ content: 'a' }))).usage).toEqual({ source: 'unknown' })
  })

  test('is unknown if a server that does not count sends zeros', async () => {
    const zeros = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }
    expect((await answerOf(provider, server, whole({ content: 'a' }, 'stop', { usage: zeros }))).usage).toEqual({
      source: 'unknown',
    })
  })

  const usageOf = async (raw: unknown) =>
    (await answerOf(provider, server, whole({ content: 'a' }, 'stop', { usage: raw }))).usage

  test('counts cached and cache-written tokens as parts of the input', async () => {
    expect(
      await usageOf({
        ...usage,
        prompt_tokens: 100,
        total_tokens: 105,
        prompt_tokens_details: { cached_tokens: 60, cache_write_tokens: 20 },
      }),
    ).toEqual({
      inputTokens: 100,
      cachedInputTokens: 60,
      cacheWriteTokens: 20,
      outputTokens: 5,
      totalTokens: 105,
      source: 'reported',
    })
  })

  test('counts reasoning as part of the output if the vendor does (OpenAI)', async () => {
    expect(
      await usageOf({
        prompt_tokens: 10,
        completion_tokens: 100,
        total_tokens: 110,
        completion_tokens_details: { reasoning_tokens: 64 },
      }),
    ).toMatchObject({
      outputTokens: 100,
      reasoningTokens: 64,
      totalTokens: 110,
    })
  })

  test('adds reasoning to the output if the vendor excludes it (xAI)', async () => {
    expect(
      await usageOf({
        prompt_tokens: 291,
        completion_tokens: 26,
        total_tokens: 513,
        completion_tokens_details: { reasoning_tokens: 196 },
      }),
    ).toMatchObject({
      outputTokens: 222,
      reasoningTokens: 196,
      totalTokens: 513,
    })
  })

  test('never makes reasoning larger than the output it is part of (OpenRouter)', async () => {
    expect(
      await usageOf({
        prompt_tokens: 10,
        completion_tokens: 50,
        total_tokens: 60,
        completion_tokens_details: { reasoning_tokens: 80 },
      }),
    ).toMatchObject({
      outputTokens: 50,
      reasoningTokens: 50,
    })
  })

  test('adds audio to the input if the total shows it (Mistral)', async () => {
    expect(
      await usageOf({
        prompt_tokens: 9,
        completion_tokens: 201,
        total_tokens: 585,
        prompt_tokens_details: { audio_tokens: 375 },
      }),
    ).toMatchObject({
      inputTokens: 384,
      outputTokens: 201,
      totalTokens: 585,
    })
  })

  test.each([
    ['OpenRouter in dollars', { ...usage, cost: 0.000837 }, 0.000837],
    ['OpenRouter as free of charge', { ...usage, cost: 0 }, 0],
    ['xAI in ticks', { ...usage, cost_in_usd_ticks: 1_330_500 }, 0.00013305],
    ['OpenAI not at all', usage, undefined],
  ])('has the cost that is stated by %s', async (_, raw, cost) => {
    const answer = await answerOf(provider, server, whole({ content: 'a' }, 'stop', { usage: raw }))
    expect(answer.providerCostUsd).toBe(cost)
  })
})

describe('text and finish of Chat Completions', () => {
  test.each([
    ['stop', 'stop'],
    ['length', 'length'],
    ['content_filter', 'content_filter'],
    ['model_length', 'length'],
    ['eos', 'stop'],
    ['something_new', 'other'],
  ])('finish reason %s becomes %s', async (reason, finishReason) => {
    expect(await answerOf(provider, server, whole({ content: 'a' }, reason))).toMatchObject({ finishReason })
    expect(await streamOf(provider, server, [chunk({ content: 'a' }), chunk({}, reason), '[DONE]'])).toMatchObject({
      finishReason,
    })
  })

  test('a refusal with finish reason stop is a refusal', async () => {
    const expected = { text: '', refusal: "I can't help.", finishReason: 'refusal' }
    expect(await answerOf(provider, server, whole({ content: null, refusal: "I can't help." }))).toMatchObject(expected)
    expect(
      await streamOf(provider, server, [chunk({ refusal: "I can't" }), chunk({ refusal: ' help.' }, 'stop'), '[DONE]']),
    ).toMatchObject(expected)
  })

  test('tool calls with finish reason stop are tool calls, with fragments joined by index', async () => {
    const call = (index: number, rest: object) => chunk({ tool_calls: [{ index, ...rest }] })
    const answer = await streamOf(provider, server, [
      call(0, { id: 'call_1', function: { name: 'weather', arguments: '' } }),
      call(1, { id: 'call_2', function: { name: 'time', arguments: '{"zo' } }),
      call(0, { function: { arguments: '{"city":"Wien"}' } }),
      call(1, { function: { arguments: 'ne":"CET"}' } }),
      chunk({}, 'stop'),
      '[DONE]',
    ])
    expect(answer).toMatchObject({
      finishReason: 'tool_calls',
      toolCalls: [
        { id: 'call_1', name: 'weather', arguments: '{"city":"Wien"}' },
        { id: 'call_2', name: 'time', arguments: '{"zone":"CET"}' },
      ],
    })
  })

  test('two complete tool calls at one index stay two', async () => {
    const call = (id: string) => chunk({ tool_calls: [{ index: 0, id, function: { name: 'f', arguments: '{}' } }] })
    const answer = await streamOf(provider, server, [call('a'), call('b'), chunk({}, 'tool_calls'), '[DONE]'])
    expect(answer.toolCalls).toHaveLength(2)
  })

  test('content as a list is split into text and thinking (Mistral)', async () => {
    const content = [
      { type: 'thinking', thinking: [{ type: 'text', text: 'two and two' }] },
      { type: 'text', text: 'It is ' },
      { type: 'text', text: '4.' },
    ]
    const expected = { text: 'It is 4.', reasoningText: 'two and two' }
    expect(await answerOf(provider, server, whole({ content }))).toMatchObject(expected)
    expect(await streamOf(provider, server, [chunk({ content }, 'stop'), '[DONE]'])).toMatchObject({
      ...expected,
      streamed: 'It is 4.',
    })
  })

  test.each([
    ['reasoning', { reasoning: 'hm', reasoning_details: [{ type: 'reasoning.text', text: 'hm' }] }],
    ['reasoning_content', { reasoning_content: 'hm' }],
    ['reasoning_details', { reasoning_details: [{ type: 'reasoning.text', text: 'hm' }] }],
  ])('reasoning in %s is kept separate from the text', async (_, message) => {
    expect(await answerOf(provider, server, whole({ content: 'yes', ...message }))).toMatchObject({
      text: 'yes',
      reasoningText: 'hm',
    })
  })

  test('only the first of several candidates is the answer', async () => {
    const answer = await streamOf(provider, server, [
      { model: 'm', choices: [{ index: 1, delta: { content: 'other' }, finish_reason: null }] },
      { model: 'm', choices: [{ index: 0, delta: { content: 'mine' }, finish_reason: null }] },
      { model: 'm', choices: [{ index: 1, delta: {}, finish_reason: 'length' }] },
      { model: 'm', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] },
      '[DONE]',
    ])
    expect(answer).toMatchObject({ text: 'mine', finishReason: 'stop' })
  })

  test('the model that answered is reported, not the requested one', async () => {
    expect(await answerOf(provider, server, whole({ content: 'a' }), { model: 'gpt-4o' })).toMatchObject({
      model: 'gpt-4o-2024-08-06',
    })
  })

  test('an empty model name in the first chunk is not the model (Azure)', async () => {
    const answer = await streamOf(provider, server, [
      { model: '', choices: [], prompt_filter_results: [] },
      chunk({ content: 'a' }, 'stop'),
      '[DONE]',
    ])
    expect(answer.model).toBe('gpt-4o-2024-08-06')
  })

  test('comments, event names, CRLF and events of two data lines are read', async () => {
    const body = [
      ': OPENROUTER PROCESSING',
      '',
      'event: chunk',
      'id: 1',
      `data: {"model":"m",`,
      `data: "choices":[{"index":0,"delta":{"content":"Grüße"},"finish_reason":"stop"}]}`,
      '',
      'data:[DONE]',
      '',
      '',
    ].join('\r\n')
    for (let seed = 1; seed < 20; seed++) {
      server.answer({ headers: SSE_HEADERS, body, seed })
      const answer = await provider.generate(askOf(), { signal: new AbortController().signal, onDelta: () => undefined })
      expect(answer).toMatchObject({ text: 'Grüße', finishReason: 'stop' })
    }
  })

  test('comments count as activity for the idle timeout', async () => {
    server.answer({
      headers: SSE_HEADERS,
      body: `${': PROCESSING\n\n'.repeat(40)}${sse(chunk({ content: 'a' }, 'stop'), '[DONE]')}`,
      seed: 3,
    })
    let activity = 0
    await provider.generate(askOf(), {
      signal: new AbortController().signal,
      onDelta: () => undefined,
      onActivity: () => activity++,
    })
    expect(activity).toBeGreaterThan(10)
  })

  test('an answer resolves at its end mark although the connection stays open', async () => {
    server.answer({ headers: SSE_HEADERS, body: sse(chunk({ content: 'a' }, 'stop'), '[DONE]'), after: 'hang' })
    const answer = await provider.generate(askOf(), { signal: new AbortController().signal, onDelta: () => undefined })
    expect(answer.text).toBe('a')
  })

  test('JSON with a wrong content type is read', async () => {
    const answer = { headers: { 'content-type': 'text/plain' }, body: JSON.stringify(whole({ content: 'plain' }).body) }
    expect(await answerOf(provider, server, answer)).toMatchObject({ text: 'plain' })
  })

  test('a server that ignores `stream` still delivers its text', async () => {
    server.answer(whole({ content: 'all at once' }))
    let streamed = ''
    const answer = await provider.generate(askOf(), {
      signal: new AbortController().signal,
      onDelta: (text) => {
        streamed += text
      },
    })
    expect([answer.text, streamed]).toEqual(['all at once', 'all at once'])
  })
})

describe('errors inside a 200 of Chat Completions', () => {
  test.each([
    [
      'Groq',
      [
        {
          error: {
            message: 'Tool call validation failed',
            type: 'invalid_request_error',
            code: 'tool_use_failed',
            status_code: 400,
          },
        },
      ],
      'PROVIDER_REJECTED',
    ],
    ['Groq over capacity', [chunk({}, null, { x_groq: { id: 'r', error: 'over_capacity' } })], 'PROVIDER_UNAVAILABLE'],
    [
      'OpenRouter',
      [{ ...chunk({ content: '' }, 'error'), error: { code: 502, message: 'Upstream error' } }],
      'PROVIDER_UNAVAILABLE',
    ],
    [
      'OpenRouter in the choice',
      [{ choices: [{ index: 0, delta: {}, finish_reason: 'error', error: { code: 429, message: 'Slow' } }] }],
      'PROVIDER_RATE_LIMITED',
    ],
    [
      'OpenAI',
      [{ error: { message: 'The server had an error', type: 'server_error', param: null, code: null } }],
      'PROVIDER_UNAVAILABLE',
    ],
    ['DeepSeek', [chunk({}, 'insufficient_system_resource')], 'PROVIDER_UNAVAILABLE'],
  ])('%s breaks off a stream', async (_, events, code) => {
    const error = await rejection(streamOf(provider, server, [chunk({ content: 'half' }), ...events, '[DONE]']))
    expect(error).toMatchObject({ code })
    expect(callFactsOf(error)).toMatchObject({ generated: true, model: 'gpt-4o-2024-08-06' })
  })

  test('usage known before the failure is kept on the error', async () => {
    const error = await rejection(
      streamOf(provider, server, [chunk({ content: 'half' }, null, { usage }), { error: { message: 'broken' } }]),
    )
    expect(callFactsOf(error).usage).toMatchObject({ inputTokens: 10, outputTokens: 5 })
  })

  test.each([
    ['Azure', { error: { code: '429', message: 'Requests have exceeded the rate limit.' } }, 'PROVIDER_RATE_LIMITED'],
    ['a gateway', { statusCode: 503, message: 'Backend unavailable' }, 'PROVIDER_UNAVAILABLE'],
    ['vLLM', { object: 'error', message: 'bad request', type: 'BadRequestError', code: 400 }, 'PROVIDER_REJECTED'],
    ['OpenRouter', { error: { code: 402, message: 'Insufficient credits' } }, 'PROVIDER_QUOTA_EXHAUSTED'],
  ])('%s answers with an error as the body', async (_, body, code) => {
    expect(await rejection(answerOf(provider, server, { body }))).toMatchObject({ code })
    server.answer({ body })
    const streamed = provider.generate(askOf(), { signal: new AbortController().signal, onDelta: () => undefined })
    expect(await rejection(streamed)).toMatchObject({ code })
  })

  test('a prompt repeated by an error inside a stream is withheld', async () => {
    const content = 'my favourite colour is ultraviolet'
    const asked = streamOf(provider, server, [{ error: { message: `can not say ${content}` } }], {
      messages: [{ role: 'user', content }],
    })
    expect(JSON.stringify(await rejection(asked))).not.toContain('ultraviolet')
  })

  test('an end mark without an answer is an error', async () => {
    expect(await rejection(streamOf(provider, server, ['[DONE]']))).toMatchObject({ code: 'PROVIDER_BAD_REPLY' })
  })

  test('an event that is not JSON is an error', async () => {
    expect(await rejection(streamOf(provider, server, [chunk({ content: 'a' }), '{not json', '[DONE]']))).toMatchObject({
      code: 'PROVIDER_BAD_REPLY',
    })
  })

  test.each([[[]], [[null]], [[{}]], [[{ index: 0, message: null, finish_reason: 'stop' }]]])(
    '%j as choices is an error',
    async (choices) => {
      expect(await rejection(answerOf(provider, server, { body: { model: 'm', choices, usage } }))).toMatchObject({
        code: 'PROVIDER_BAD_REPLY',
      })
    },
  )
})

describe('requests of Chat Completions', () => {
  const bodyFor = async (request: Parameters<typeof askOf>[0]) => {
    const answer = await answerOf(provider, server, whole({ content: 'a' }), request)
    return { body: lastBodyAt(server), notes: answer.notes }
  }

  test('carry system, messages and settings', async () => {
    const { body, notes } = await bodyFor({
      system: 'Be brief.',
      messages: [
        { role: 'user', content: 'Hi' },
        { role: 'assistant', content: 'Yes?' },
        { role: 'user', content: 'Why?' },
      ],
      settings: { temperature: 0.5, topP: 0.9, maxTokens: 50, stopSequences: ['END'] },
    })
    expect(body).toEqual({
      model: 'gpt-4o',
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Hi' },
        { role: 'assistant', content: 'Yes?' },
        { role: 'user', content: 'Why?' },
      ],
      temperature: 0.5,
      top_p: 0.9,
      max_completion_tokens: 50,
      stop: ['END'],
    })
    expect(notes).toEqual([])
  })

  test.each(['o1', 'o3-mini', 'o4-mini-2025-04-16', 'gpt-5', 'gpt-5-nano', 'gpt-5.2', 'openai/gpt-5-mini'])(
    'leave out settings that the reasoning model %s rejects, with a note for each',
    async (model) => {
      const { body, notes } = await bodyFor({
        model,
        settings: { temperature: 0.5, topP: 0.9, maxTokens: 50, stopSequences: ['END'] },
      })
      expect(body).toEqual({ model, messages: [{ role: 'user', content: 'Hello.' }], max_completion_tokens: 50 })
      expect(notes).toHaveLength(3)
      expect(notes.join()).toMatch(/temperature.*topP.*stopSequences/)
    },
  )

  test.each(['gpt-4o', 'gpt-4.1-mini', 'gpt-5-chat-latest', 'ft:gpt-4o:team::1', 'grok-4-1-fast-non-reasoning', 'gpt-oss:120b'])(
    'keep all settings for %s',
    async (model) => {
      const { body, notes } = await bodyFor({ model, settings: { temperature: 0.5, topP: 0.9, stopSequences: ['END'] } })
      expect(body).toMatchObject({ temperature: 0.5, top_p: 0.9, stop: ['END'] })
      expect(notes).toEqual([])
    },
  )

  test('keep at most four stop sequences, with a note', async () => {
    const { body, notes } = await bodyFor({ settings: { stopSequences: ['1', '2', '3', '4', '5'] } })
    expect(body).toMatchObject({ stop: ['1', '2', '3', '4'] })
    expect(notes).toHaveLength(1)
  })

  test('bind the answer to a schema natively', async () => {
    const { body, notes } = await bodyFor({
      outputSchema: { type: 'object', properties: { city: { type: 'string', minLength: 1 } }, required: ['city'] },
    })
    expect(body).toMatchObject({
      response_format: {
        type: 'json_schema',
        json_schema: {
          name: 'answer',
          strict: true,
          schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false },
        },
      },
    })
    expect(notes).toEqual([])
  })

  test('leave out a schema of another type than object, with a note', async () => {
    const { body, notes } = await bodyFor({ outputSchema: { type: 'array', items: { type: 'string' } } })
    expect(body).not.toHaveProperty('response_format')
    expect(notes).toHaveLength(1)
  })
})

test("reasoning between tags is kept separate at addresses other than OpenAI's", async () => {
  const said = '<reasoning>Let me see.</reasoning>Paris.'
  const expected = { text: 'Paris.', reasoningText: 'Let me see.' }
  expect(await answerOf(provider, server, whole({ role: 'assistant', content: said }))).toMatchObject(expected)
  const chunks = [...said].map((content) => chunk({ content }))
  const streamed = await streamOf(provider, server, [...chunks, chunk({}, 'stop')])
  expect(streamed).toMatchObject({ ...expected, streamed: 'Paris.' })
})

test.each([
  [
    'a list of one error',
    [{ error: { code: 400, message: 'API key not valid. Please pass a valid API key.' } }],
    'PROVIDER_AUTH',
  ],
  ['a list of errors', { success: false, errors: [{ code: 7003, message: 'No such model' }] }, 'PROVIDER_UNAVAILABLE'],
])("%s with a status of success is the vendor's error, whole, as an event and after text", async (_, body, code) => {
  const codeOf = (asked: Promise<unknown>) =>
    asked.then(
      () => 'success',
      (error: unknown) => (OrchestratorError.is(error) ? error.code : error),
    )
  expect(await codeOf(answerOf(provider, server, { body }))).toBe(code)
  expect(await codeOf(streamOf(provider, server, [body]))).toBe(code)
  expect(await codeOf(streamOf(provider, server, [chunk({ content: 'Half' }), body]))).toBe(code)
})
