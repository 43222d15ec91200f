import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { callFactsOf } from '../../src/domain/execution/call-facts.ts'
import type { ModelRequest } from '../../src/domain/execution/model-call.ts'
import { createAnthropicProvider } from '../../src/providers/anthropic/anthropic.ts'
import type { GenerateOptions, Provider } from '../../src/providers/provider.ts'
import { describeProvider, type VendorWire } from '../contracts/provider.ts'
import { createVendorServer, SSE_HEADERS, type VendorServer } from '../support/vendor-server.ts'

/** Events as Anthropic frames them: named, and with white space behind the JSON. */
const events = (...data: readonly { readonly type: string }[]): string =>
  data.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}   \n\n`).join('')

const message = (content: readonly unknown[], rest = {}) => ({
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: 'answering-model',
  content,
  stop_reason: 'end_turn',
  stop_sequence: null,
  usage: { input_tokens: 10, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 5 },
  ...rest,
})
const text = (value: string) => ({ type: 'text', text: value })

const start = (usage = {}) => ({
  type: 'message_start',
  message: message([], { stop_reason: null, usage: { input_tokens: 10, output_tokens: 1, ...usage } }),
})
const blockStart = (index: number, content_block: unknown) => ({ type: 'content_block_start', index, content_block })
const delta = (index: number, content: unknown) => ({ type: 'content_block_delta', index, delta: content })
const textDelta = (value: string, index = 0) => delta(index, { type: 'text_delta', text: value })
const blockStop = (index: number) => ({ type: 'content_block_stop', index })
const finish = (usage: unknown = { output_tokens: 5 }, stop_reason = 'end_turn', rest = {}) => ({
  type: 'message_delta',
  delta: { stop_reason, stop_sequence: null, ...rest },
  usage,
})
const stop = { type: 'message_stop' }

const stream = (...data: readonly { readonly type: string }[]) => ({ headers: SSE_HEADERS, body: events(...data) })
const streamOf = (value: string, usage?: unknown) =>
  stream(start(), blockStart(0, text('')), textDelta(value), blockStop(0), finish(usage), stop)

const wire: VendorWire = {
  whole: (value) => ({ body: message([text(value)]) }),
  streamed: (chunks) =>
    stream(
      start(),
      blockStart(0, text('')),
      { type: 'ping' },
      ...chunks.map((chunk) => textDelta(chunk)),
      blockStop(0),
      finish(),
      stop,
    ),
  terminalMarks: ['event: message_stop'],
  error: (status, words) => ({
    status,
    body: { type: 'error', error: { type: 'some_error', message: words }, request_id: 'req_1' },
  }),
  errorInStream: (value) =>
    stream(start(), blockStart(0, text('')), textDelta(value), {
      type: 'error',
      ...{ error: { type: 'overloaded_error', message: 'Overloaded' } },
    }),
}

const create = (baseUrl: string, apiKey?: string) =>
  createAnthropicProvider({ id: 'claude', vendor: 'anthropic', baseUrl, apiKey, simulated: false })

describeProvider({ name: 'anthropic', create, wire, model: 'claude-sonnet-4-6' })

describe('anthropic', () => {
  let server: VendorServer
  let provider: Provider
  beforeAll(async () => {
    server = await createVendorServer()
  })
  beforeEach(async () => {
    provider = await create(server.url, 'sk-ant-key')
    server.answer(wire.whole('hello'))
  })
  afterAll(() => server.close())

  const generate = (request: Partial<ModelRequest> = {}, options: Partial<GenerateOptions> = {}) =>
    provider.generate(
      { model: 'claude-sonnet-4-6', messages: [{ role: 'user', content: 'hi' }], settings: { maxTokens: 100 }, ...request },
      { signal: new AbortController().signal, ...options },
    )
  const streamed = (request: Partial<ModelRequest> = {}) => generate(request, { onDelta: () => undefined })
  const lastRequest = () => server.requests.at(-1)

  describe('requests to Anthropic', () => {
    test('the key is sent in x-api-key and in no other header', async () => {
      await generate()
      expect(lastRequest()).toMatchObject({ method: 'POST', path: '/v1/messages', headers: { 'x-api-key': 'sk-ant-key' } })
      expect(lastRequest()?.headers.authorization).toBeUndefined()
    })

    test('without a key no credential is sent', async () => {
      provider = await create(server.url)
      await generate()
      expect(lastRequest()?.headers.authorization).toBeUndefined()
      expect(lastRequest()?.headers['x-api-key']).toBeUndefined()
    })

    test('headers from ANTHROPIC_CUSTOM_HEADERS are not sent to another origin', async () => {
      process.env.ANTHROPIC_CUSTOM_HEADERS = 'x-tenant: secret'
      try {
        provider = await create(server.url, 'sk-ant-key')
      } finally {
        delete process.env.ANTHROPIC_CUSTOM_HEADERS
      }
      await generate()
      expect(lastRequest()?.headers['x-tenant']).toBeUndefined()
    })

    test('system, messages, stop sequences and the token bound have the field names of the API', async () => {
      await generate({
        system: 'be kind',
        messages: [
          { role: 'user', content: 'a' },
          { role: 'assistant', content: 'b' },
          { role: 'user', content: 'c' },
        ],
        settings: { maxTokens: 7, stopSequences: ['END'] },
      })
      expect(lastRequest()?.body).toEqual({
        model: 'claude-sonnet-4-6',
        max_tokens: 7,
        system: 'be kind',
        messages: [
          { role: 'user', content: 'a' },
          { role: 'assistant', content: 'b' },
          { role: 'user', content: 'c' },
        ],
        stop_sequences: ['END'],
      })
    })

    test.each([
      ['claude-sonnet-4-6', 8192],
      ['claude-3-haiku-20240307', 4096],
    ])('a step without maxTokens gets a bound that %s accepts, with a note', async (model, bound) => {
      const answer = await generate({ model, settings: {} })
      expect(lastRequest()?.body).toMatchObject({ max_tokens: bound })
      expect(answer.notes).toEqual([expect.stringContaining(`max_tokens was set to ${bound}`)])
    })

    test('temperature is sent to a model that accepts it, with the older API version', async () => {
      await generate({ settings: { maxTokens: 5, temperature: 0.3 } })
      expect(lastRequest()).toMatchObject({ body: { temperature: 0.3 }, headers: { 'anthropic-version': '2023-06-01' } })
    })

    test('of temperature and top_p only the temperature is sent to models that reject both', async () => {
      const answer = await generate({ settings: { maxTokens: 5, temperature: 0.3, topP: 0.9 } })
      expect(lastRequest()?.body).toMatchObject({ temperature: 0.3 })
      expect(lastRequest()?.body).not.toHaveProperty('top_p')
      expect(answer.notes).toEqual([expect.stringContaining('topP')])
      await generate({ model: 'claude-3-opus-20240229', settings: { maxTokens: 5, temperature: 0.3, topP: 0.9 } })
      expect(lastRequest()?.body).toMatchObject({ temperature: 0.3, top_p: 0.9 })
    })

    test.each(['claude-opus-4-7', 'claude-sonnet-5', 'claude-opus-5-5', 'claude-unheard-of'])(
      'temperature and top_p are left out for %s, with notes',
      async (model) => {
        const answer = await generate({ model, settings: { maxTokens: 5, temperature: 0.3, topP: 0.9 } })
        expect(lastRequest()?.body).toEqual({ model, max_tokens: 5, messages: [{ role: 'user', content: 'hi' }] })
        expect(answer.notes).toEqual([expect.stringContaining('temperature'), expect.stringContaining('topP')])
      },
    )

    test('a temperature above 1 is lowered to 1, with a note', async () => {
      const answer = await generate({ settings: { maxTokens: 5, temperature: 1.7 } })
      expect(lastRequest()?.body).toMatchObject({ temperature: 1 })
      expect(answer.notes).toEqual([expect.stringContaining('1.7')])
    })

    test('a schema is sent as output_config to models with structured output, closed and without unknown keywords', async () => {
      const outputSchema = {
        $schema: 'https://json-schema.org/draft/2020-12/schema',
        type: 'object',
        properties: { score: { type: 'number', minimum: 0 } },
        required: ['score'],
      }
      await generate({ outputSchema })
      expect(lastRequest()?.body).toMatchObject({
        output_config: {
          format: {
            type: 'json_schema',
            schema: {
              type: 'object',
              properties: { score: { type: 'number', description: '{minimum: 0}' } },
              required: ['score'],
              additionalProperties: false,
            },
          },
        },
      })
    })

    test('a schema that the model or the API does not support is left out with a note', async () => {
      const old = await generate({ model: 'claude-3-haiku-20240307', outputSchema: { type: 'object', properties: {} } })
      expect(lastRequest()?.body).not.toHaveProperty('output_config')
      const untyped = await generate({ outputSchema: { properties: { a: {} } } })
      expect(lastRequest()?.body).not.toHaveProperty('output_config')
      for (const { notes } of [old, untyped]) expect(notes).toEqual([expect.stringContaining('outputSchema')])
    })
  })

  describe('answers of Anthropic', () => {
    test.each([
      ['at the end of the stream', ''],
      ['at the mark of another protocol', 'data: [DONE]\n\n'],
    ])('an answer is complete after its stop reason, %s', async (_, end) => {
      server.answer({ headers: SSE_HEADERS, body: events(start(), textDelta('Hello'), finish({ output_tokens: 12 })) + end })
      expect(await streamed()).toMatchObject({
        text: 'Hello',
        finishReason: 'stop',
        usage: { inputTokens: 10, outputTokens: 12 },
      })
    })

    test('a stream without a stop reason is cut, even if its blocks ended', async () => {
      for (const cut of [
        [start(), textDelta('Hello')],
        [start(), blockStart(0, text('')), textDelta('Hello'), blockStop(0)],
        [start(), textDelta('Hello'), { type: 'message_delta', delta: { stop_reason: null }, usage: { output_tokens: 3 } }],
      ]) {
        server.answer(stream(...cut))
        await expect(streamed()).rejects.toMatchObject({ code: 'PROVIDER_STREAM_CUT' })
      }
    })

    test('incomplete tool arguments show that the stream was cut, except at the bound of tokens', async () => {
      const call = [
        start(),
        blockStart(0, { type: 'tool_use', id: 't', name: 'find', input: {} }),
        delta(0, { type: 'input_json_delta', partial_json: '{"a":' }),
      ]
      server.answer(stream(...call, finish({ output_tokens: 5 }, 'tool_use')))
      await expect(streamed()).rejects.toMatchObject({ code: 'PROVIDER_STREAM_CUT' })
      server.answer(stream(...call, finish({ output_tokens: 5 }, 'max_tokens')))
      expect(await streamed()).toMatchObject({ finishReason: 'length' })
    })

    test('zeros in a later usage replace no count', async () => {
      const zeros = { input_tokens: 0, cache_read_input_tokens: 0, cache_creation_input_tokens: 0, output_tokens: 7 }
      const begun = start({ input_tokens: 25, cache_read_input_tokens: 100, cache_creation_input_tokens: 50 })
      server.answer(stream(begun, textDelta('Hello'), finish(zeros), stop))
      expect((await streamed()).usage).toEqual({
        inputTokens: 175,
        cachedInputTokens: 100,
        cacheWriteTokens: 50,
        outputTokens: 7,
        totalTokens: 182,
        source: 'reported',
      })
    })

    test('later counts replace earlier zeros', async () => {
      server.answer(
        stream(
          start({ input_tokens: 0, output_tokens: 0 }),
          textDelta('Hi'),
          finish({ input_tokens: 9, output_tokens: 2 }),
          stop,
        ),
      )
      expect((await streamed()).usage).toMatchObject({ inputTokens: 9, outputTokens: 2, totalTokens: 11 })
    })

    test('0 input tokens, or 0 output tokens beside a text, count as unknown', async () => {
      server.answer({ body: message([text('Hello')], { usage: { input_tokens: 0, output_tokens: 0 } }) })
      expect((await generate()).usage).toEqual({ source: 'unknown' })
      server.answer({ body: message([text('Hello')], { usage: { input_tokens: 8, output_tokens: 0 } }) })
      expect((await generate()).usage).toEqual({ inputTokens: 8, source: 'reported' })
      server.answer({ body: message([], { stop_reason: 'refusal', usage: { input_tokens: 8, output_tokens: 0 } }) })
      expect((await generate()).usage).toMatchObject({ inputTokens: 8, outputTokens: 0 })
    })

    test.each([
      ['end_turn', 'stop', undefined],
      ['stop_sequence', 'stop', undefined],
      ['max_tokens', 'length', undefined],
      ['refusal', 'refusal', undefined],
      ['model_context_window_exceeded', 'length', 'model_context_window_exceeded'],
      ['pause_turn', 'other', 'pause_turn'],
      ['compaction', 'other', 'compaction'],
      ['constructor', 'other', 'constructor'],
    ])('stop reason %s becomes %s', async (stopReason, finishReason, named) => {
      const expected = { finishReason, notes: named === undefined ? [] : [`Anthropic stopped with "${named}"`] }
      server.answer({ body: message([text('a')], { stop_reason: stopReason }) })
      expect(await generate()).toMatchObject(expected)
      server.answer(stream(start(), textDelta('a'), finish({ output_tokens: 5 }, stopReason), stop))
      expect(await streamed()).toMatchObject(expected)
    })

    test('reasoning is delivered separately from the text', async () => {
      const chunks: string[] = []
      const thoughts: string[] = []
      server.answer(
        stream(
          start(),
          blockStart(0, { type: 'thinking', thinking: '', signature: '' }),
          delta(0, { type: 'thinking_delta', thinking: 'First, ' }),
          delta(0, { type: 'thinking_delta', thinking: 'then.' }),
          delta(0, { type: 'signature_delta', signature: 'c2ln' }),
          blockStop(0),
          blockStart(1, { type: 'redacted_thinking', data: 'xxx' }),
          blockStart(2, text('')),
          textDelta('Answer', 2),
          finish(),
          stop,
        ),
      )
      const answer = await generate({}, { onDelta: (chunk) => chunks.push(chunk), onReasoning: (chunk) => thoughts.push(chunk) })
      expect(answer).toMatchObject({ text: 'Answer', reasoningText: 'First, then.' })
      expect({ chunks, thoughts }).toEqual({ chunks: ['Answer'], thoughts: ['First, ', 'then.'] })
      expect(answer.notes).toEqual([])
      expect(answer.vendorTurn).toBeUndefined()
    })

    const SEARCHED = [
      text('Intro. '),
      { type: 'server_tool_use', id: 's', name: 'web_search', input: { query: 'q' } },
      {
        type: 'web_search_tool_result',
        tool_use_id: 's',
        content: [
          { type: 'web_search_result', url: 'https://a.example/1', title: 'One', encrypted_content: 'x', page_age: null },
        ],
      },
    ]
    const CITATIONS = [
      { type: 'web_search_result_location', url: 'https://a.example/1', title: 'One', encrypted_index: 'i', cited_text: 'said' },
      {
        type: 'char_location',
        document_index: 0,
        document_title: 'Report',
        start_char_index: 900,
        end_char_index: 910,
        cited_text: 'so',
      },
      {
        type: 'page_location',
        document_index: 0,
        document_title: null,
        start_page_number: 5,
        end_page_number: 6,
        cited_text: 'p',
      },
      { type: 'search_result_location', source: 'https://b.example', title: 'Two', search_result_index: 0, cited_text: 't' },
    ]
    const range = { startIndex: 7, endIndex: 13 }
    const SOURCES = [
      { kind: 'search_result', url: 'https://a.example/1', title: 'One' },
      { kind: 'citation', url: 'https://a.example/1', title: 'One', text: 'said', ...range },
      { kind: 'citation', title: 'Report', text: 'so', ...range },
      { kind: 'citation', text: 'p', ...range },
      { kind: 'citation', url: 'https://b.example', title: 'Two', text: 't', ...range },
    ]

    test('citations and search results are sources, with the range of the text that they support', async () => {
      server.answer({ body: message([...SEARCHED, { ...text('Claim.'), citations: CITATIONS }, text(' End.')]) })
      const answer = await generate()
      expect(answer).toMatchObject({ text: 'Intro. Claim. End.', sources: SOURCES })
      expect(answer.notes).toEqual(['parts of the answer were left out: server_tool_use'])
    })

    test('citations of a stream are the same sources', async () => {
      server.answer(
        stream(
          start(),
          ...SEARCHED.map((block, index) => blockStart(index, block)),
          blockStart(3, { ...text(''), citations: [] }),
          ...CITATIONS.slice(0, 2).map((citation) => delta(3, { type: 'citations_delta', citation })),
          textDelta('Claim.', 3),
          ...CITATIONS.slice(2).map((citation) => delta(3, { type: 'citations_delta', citation })),
          blockStop(3),
          blockStart(4, text('')),
          textDelta(' End.', 4),
          finish(),
          stop,
        ),
      )
      expect(await streamed()).toMatchObject({ text: 'Intro. Claim. End.', sources: SOURCES })
    })

    test('a failed search is not a source and is noted', async () => {
      const failed = {
        type: 'web_search_tool_result',
        content: { type: 'web_search_tool_result_error', error_code: 'max_uses_exceeded' },
      }
      server.answer({ body: message([failed, text('a')]) })
      const answer = await generate()
      expect(answer.sources).toBeUndefined()
      expect(answer.notes).toEqual(['parts of the answer were left out: web_search_tool_result'])
    })

    test('the service tier is that of the API, and fast mode takes precedence', async () => {
      const usage = { input_tokens: 1, output_tokens: 1, service_tier: 'priority' }
      server.answer({ body: message([text('a')], { usage }) })
      expect((await generate()).serviceTier).toBe('priority')
      server.answer({ body: message([text('a')], { usage: { ...usage, speed: 'fast' } }) })
      expect((await generate()).serviceTier).toBe('fast')
      server.answer(wire.whole('a'))
      expect(await generate()).not.toHaveProperty('serviceTier')
    })

    test('input tokens are the sum of plain input, cache reads and cache writes', async () => {
      const usage = { input_tokens: 3, cache_creation_input_tokens: 2262, cache_read_input_tokens: 100, output_tokens: 84 }
      server.answer({ body: message([text('ok')], { usage }) })
      expect((await generate()).usage).toEqual({
        inputTokens: 2365,
        cachedInputTokens: 100,
        cacheWriteTokens: 2262,
        outputTokens: 84,
        totalTokens: 2449,
        source: 'reported',
      })
    })

    test('figures of message_delta replace only the same figures of message_start', async () => {
      server.answer(
        stream(
          start({ input_tokens: 2039, cache_read_input_tokens: 7 }),
          finish({
            input_tokens: 10_423,
            cache_read_input_tokens: null,
            output_tokens: 341,
            output_tokens_details: { thinking_tokens: 40 },
          }),
          stop,
        ),
      )
      expect((await streamed()).usage).toEqual({
        inputTokens: 10_430,
        cachedInputTokens: 7,
        outputTokens: 341,
        reasoningTokens: 40,
        totalTokens: 10_771,
        source: 'reported',
      })
      server.answer(streamOf('x', { output_tokens: 92 }))
      expect((await streamed()).usage).toMatchObject({ inputTokens: 10, outputTokens: 92 })
    })

    test('model calls billed outside the top-level figures are counted', async () => {
      const usage = {
        input_tokens: 162,
        output_tokens: 11,
        iterations: [
          {
            type: 'compaction',
            input_tokens: 99_195,
            output_tokens: 81,
            cache_read_input_tokens: 0,
            cache_creation_input_tokens: 0,
          },
          { type: 'message', input_tokens: 162, output_tokens: 11, cache_read_input_tokens: 0, cache_creation_input_tokens: 0 },
        ],
      }
      server.answer({ body: message([text('ok')], { usage }) })
      const answer = await generate()
      expect(answer.usage).toMatchObject({ inputTokens: 99_357, outputTokens: 92 })
      expect(answer.notes).toEqual([expect.stringContaining('compaction')])
    })

    test('an answer without usage has unknown usage, not 0', async () => {
      server.answer({ body: message([text('ok')], { usage: undefined }) })
      expect((await generate()).usage).toEqual({ source: 'unknown' })
    })

    test.each([
      ['end_turn', 'stop'],
      ['stop_sequence', 'stop'],
      ['max_tokens', 'length'],
      ['model_context_window_exceeded', 'length'],
      ['tool_use', 'tool_calls'],
      ['refusal', 'refusal'],
      ['pause_turn', 'other'],
      ['something_new', 'other'],
    ])('stop reason %s is read as %s, streamed or not', async (stop_reason, finishReason) => {
      server.answer({ body: message([text('ok')], { stop_reason }) })
      expect((await generate()).finishReason).toBe(finishReason)
      server.answer(stream(start(), finish({ output_tokens: 5 }, stop_reason), stop))
      expect((await streamed()).finishReason).toBe(finishReason)
    })

    test('a refusal carries the explanation', async () => {
      const stop_details = { type: 'refusal', category: 'bio', explanation: 'not this' }
      server.answer({ body: message([], { stop_reason: 'refusal', stop_details }) })
      expect(await generate()).toMatchObject({ text: '', refusal: 'not this', finishReason: 'refusal' })
      server.answer(stream(start(), finish({ output_tokens: 5 }, 'refusal', { stop_details }), stop))
      expect(await streamed()).toMatchObject({ refusal: 'not this', finishReason: 'refusal' })
    })

    test('the text consists of all text blocks, without thinking and server blocks', async () => {
      server.answer({
        body: message([
          { type: 'thinking', thinking: 'hm', signature: 's' },
          text('one '),
          { type: 'server_tool_use', id: 's1', name: 'web_search', input: { query: 'q' } },
          { type: 'web_search_tool_result', tool_use_id: 's1', content: [] },
          text('two'),
        ]),
      })
      const answer = await generate()
      expect(answer).toMatchObject({ text: 'one two', reasoningText: 'hm' })
      expect(answer).not.toHaveProperty('toolCalls')
    })

    test('a stream keeps thinking separate and joins the JSON of tool calls by block', async () => {
      server.answer({
        ...stream(
          start(),
          blockStart(0, { type: 'thinking', thinking: '', signature: '' }),
          delta(0, { type: 'thinking_delta', thinking: 'let me ' }),
          delta(0, { type: 'thinking_delta', thinking: 'see' }),
          delta(0, { type: 'signature_delta', signature: 'abc' }),
          blockStart(1, text('')),
          textDelta('Checking.', 1),
          blockStart(2, { type: 'tool_use', id: 't1', name: 'weather', input: {} }),
          blockStart(3, { type: 'tool_use', id: 't2', name: 'time', input: {} }),
          delta(2, { type: 'input_json_delta', partial_json: '{"city":' }),
          delta(2, { type: 'input_json_delta', partial_json: '"Berlin"}' }),
          finish({ output_tokens: 5 }, 'tool_use'),
          stop,
        ),
        seed: 3,
      })
      expect(await streamed()).toMatchObject({
        text: 'Checking.',
        reasoningText: 'let me see',
        finishReason: 'tool_calls',
        toolCalls: [
          { id: 't1', name: 'weather', arguments: '{"city":"Berlin"}' },
          { id: 't2', name: 'time', arguments: '{}' },
        ],
      })
    })

    test('a plain message in response to a streamed request is delivered as one chunk', async () => {
      const chunks: string[] = []
      expect(await generate({}, { onDelta: (chunk) => chunks.push(chunk) })).toMatchObject({
        text: 'hello',
        finishReason: 'stop',
      })
      expect(chunks).toEqual(['hello'])
    })

    test('the SDK prints nothing, neither about deprecated models nor with its log enabled', async () => {
      const printed: unknown[] = []
      const { warn, debug, info, error, log } = console
      const print = (...words: unknown[]) => void printed.push(words)
      Object.assign(console, { warn: print, debug: print, info: print, error: print, log: print })
      process.env.ANTHROPIC_LOG = 'debug'
      try {
        provider = await create(server.url, 'sk-ant-key')
        await generate({ model: 'claude-sonnet-4-5' })
        server.answer(wire.error(400, 'no'))
        await expect(generate({ model: 'claude-sonnet-4-5' })).rejects.toMatchObject({ code: 'PROVIDER_REJECTED' })
      } finally {
        delete process.env.ANTHROPIC_LOG
        Object.assign(console, { warn, debug, info, error, log })
      }
      expect(printed).toEqual([])
    })
  })

  describe('failures', () => {
    test('an overload inside a stream is PROVIDER_UNAVAILABLE, with the usage so far', async () => {
      server.answer(wire.errorInStream('half'))
      const error = await streamed().catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code: 'PROVIDER_UNAVAILABLE', retryable: true })
      expect(callFactsOf(error)).toMatchObject({
        generated: true,
        model: 'answering-model',
        usage: { inputTokens: 10, outputTokens: 1 },
      })
    })

    test('an error as the body of a 200 is an error', async () => {
      server.answer({ body: { type: 'error', error: { type: 'rate_limit_error', message: 'slow down' } } })
      await expect(generate()).rejects.toMatchObject({ code: 'PROVIDER_RATE_LIMITED' })
      await expect(streamed()).rejects.toMatchObject({ code: 'PROVIDER_RATE_LIMITED' })
    })

    test('the error of a cut stream has the usage so far', async () => {
      server.answer(stream(start({ input_tokens: 70 }), blockStart(0, text('')), textDelta('half')))
      const error = await streamed().catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code: 'PROVIDER_STREAM_CUT' })
      expect(callFactsOf(error)).toMatchObject({ generated: true, usage: { inputTokens: 70 } })
    })

    test('the signal of an aborted stream has the usage so far', async () => {
      server.answer({ ...stream(start({ input_tokens: 70 }), blockStart(0, text('')), textDelta('half')), after: 'hang' })
      const controller = new AbortController()
      const pending = generate({}, { signal: controller.signal, onDelta: () => controller.abort(new Error('enough')) })
      await expect(pending).rejects.toThrow('enough')
      expect(callFactsOf(controller.signal)).toMatchObject({ generated: true, usage: { inputTokens: 70 } })
    })

    test('an endless error page is not read to its end', async () => {
      server.answer({ status: 500, headers: { 'content-type': 'text/html' }, body: 'x'.repeat(200_000), after: 'hang' })
      await expect(generate()).rejects.toMatchObject({ code: 'PROVIDER_UNAVAILABLE', details: { status: 500 } })
      await server.clientClosed()
    })

    test('an error whose body breaks off keeps the code of its status', async () => {
      server.answer({ status: 401, headers: { 'content-type': 'application/json' }, body: '{"error":', after: 'drop' })
      await expect(generate()).rejects.toMatchObject({ code: 'PROVIDER_AUTH', retryable: false })
    })

    test('ping requests the models and checks the response', async () => {
      server.answer({ body: { data: [] } })
      await provider.ping?.(new AbortController().signal)
      expect(lastRequest()).toMatchObject({ method: 'GET', path: '/v1/models?limit=1', headers: { 'x-api-key': 'sk-ant-key' } })
      server.answer(wire.error(401, 'invalid x-api-key'))
      await expect(provider.ping?.(new AbortController().signal)).rejects.toMatchObject({ code: 'PROVIDER_AUTH' })
      server.answer({ headers: { 'content-type': 'text/html' }, body: '<html>hello</html>' })
      await expect(provider.ping?.(new AbortController().signal)).rejects.toMatchObject({ code: 'PROVIDER_BAD_REPLY' })
    })
  })
})
