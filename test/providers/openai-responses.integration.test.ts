import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { callFactsOf } from '../../src/domain/execution/call-facts.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { rejection } from '../support/caught.ts'
import { answerOf, createOpenAiAt, lastBodyAt, streamOf } from '../support/openai-asks.ts'
import { createVendorServer, type VendorServer } from '../support/vendor-server.ts'

let server: VendorServer
let provider: Provider

beforeAll(async () => {
  server = await createVendorServer()
  provider = await createOpenAiAt(server, { api: 'responses' })
})
afterAll(() => server.close())

const message = (...content: readonly unknown[]) => ({ type: 'message', role: 'assistant', content })
const text = (value: string) => ({ type: 'output_text', text: value, annotations: [] })
const usage = { input_tokens: 10, output_tokens: 5, total_tokens: 15 }
const response = (output: readonly unknown[], rest = {}) => ({
  object: 'response',
  status: 'completed',
  model: 'gpt-5-2025-08-07',
  error: null,
  incomplete_details: null,
  output,
  usage,
  ...rest,
})
const delta = (value: string) => ({ type: 'response.output_text.delta', delta: value })
const completed = (body: unknown) => ({ type: 'response.completed', response: body })
describe('answers of the Responses API', () => {
  test('the text consists of every text part of every message', async () => {
    const answer = await answerOf(provider, server, {
      body: response([{ type: 'reasoning', summary: [] }, message(text('one '), text('two ')), message(text('three'))]),
    })
    expect(answer).toMatchObject({ text: 'one two three', finishReason: 'stop', model: 'gpt-5-2025-08-07' })
  })

  test('a refusal part is a refusal', async () => {
    const answer = await answerOf(provider, server, { body: response([message({ type: 'refusal', refusal: 'No.' })]) })
    expect(answer).toMatchObject({ text: '', refusal: 'No.', finishReason: 'refusal' })
  })

  test('function calls become tool calls although the status is completed', async () => {
    const call = { type: 'function_call', id: 'fc_1', call_id: 'call_1', name: 'weather', arguments: '{"city":"Wien"}' }
    expect(await answerOf(provider, server, { body: response([call]) })).toMatchObject({
      finishReason: 'tool_calls',
      toolCalls: [{ id: 'call_1', name: 'weather', arguments: '{"city":"Wien"}' }],
    })
  })

  test.each([
    ['max_output_tokens', 'length'],
    ['content_filter', 'content_filter'],
    ['something_new', 'other'],
  ])('an answer incomplete because of %s finishes as %s', async (reason, finishReason) => {
    const body = response([message(text('half'))], { status: 'incomplete', incomplete_details: { reason } })
    expect(await answerOf(provider, server, { body })).toMatchObject({ text: 'half', finishReason })
    const streamed = await streamOf(provider, server, [delta('half'), { type: 'response.incomplete', response: body }])
    expect(streamed).toMatchObject({ text: 'half', finishReason })
  })

  test.each(['queued', 'in_progress', 'cancelled'])('status %s is an error', async (status) => {
    expect(await rejection(answerOf(provider, server, { body: response([], { status, usage: null }) }))).toMatchObject({
      code: 'PROVIDER_BAD_REPLY',
    })
  })

  test('reasoning is read from its summary or its content', async () => {
    const summary = { type: 'reasoning', summary: [{ type: 'summary_text', text: 'short' }] }
    const content = { type: 'reasoning', summary: [], content: [{ type: 'reasoning_text', text: 'long' }] }
    expect(await answerOf(provider, server, { body: response([summary, message(text('a'))]) })).toMatchObject({
      reasoningText: 'short',
    })
    expect(await answerOf(provider, server, { body: response([content, message(text('a'))]) })).toMatchObject({
      reasoningText: 'long',
    })
  })

  test('usage includes cached tokens in the input and reasoning in the output', async () => {
    const body = response([message(text('a'))], {
      usage: {
        input_tokens: 100,
        input_tokens_details: { cached_tokens: 60 },
        output_tokens: 40,
        output_tokens_details: { reasoning_tokens: 30 },
        total_tokens: 140,
      },
    })
    expect((await answerOf(provider, server, { body })).usage).toEqual({
      inputTokens: 100,
      cachedInputTokens: 60,
      outputTokens: 40,
      reasoningTokens: 30,
      totalTokens: 140,
      source: 'reported',
    })
  })

  test('a failed response is an error with the usage it reports', async () => {
    const body = response([], { status: 'failed', error: { code: 'rate_limit_exceeded', message: 'slow down' } })
    const whole = await rejection(answerOf(provider, server, { body }))
    const streamed = await rejection(streamOf(provider, server, [delta('ha'), { type: 'response.failed', response: body }]))
    for (const error of [whole, streamed]) {
      expect(error).toMatchObject({ code: 'PROVIDER_RATE_LIMITED' })
      expect(callFactsOf(error).usage).toMatchObject({ inputTokens: 10, outputTokens: 5 })
    }
  })

  test('an error event ends the stream with the error', async () => {
    const event = { type: 'error', code: 'server_error', message: 'The server had an error', param: null }
    const error = await rejection(streamOf(provider, server, [delta('ha'), event]))
    expect(error).toMatchObject({ code: 'PROVIDER_UNAVAILABLE' })
    expect(callFactsOf(error).generated).toBe(true)
  })

  test('a flagged prompt is CONTENT_FILTERED', async () => {
    const body = { error: { message: 'Invalid prompt', type: 'invalid_request_error', param: null, code: 'invalid_prompt' } }
    expect(await rejection(answerOf(provider, server, { status: 400, body }))).toMatchObject({
      code: 'CONTENT_FILTERED',
      retryable: false,
    })
  })

  test('text that was not streamed is delivered with the last event', async () => {
    const answer = await streamOf(provider, server, [delta('one '), completed(response([message(text('one two'))]))])
    expect(answer).toMatchObject({ text: 'one two', streamed: 'one two' })
  })

  test('items of a stream whose last event is empty are kept', async () => {
    const item = { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' }
    const answer = await streamOf(provider, server, [
      { type: 'response.output_item.done', item },
      completed(response([])),
      '[DONE]',
    ])
    expect(answer.toolCalls).toEqual([{ id: 'c', name: 'f', arguments: '{}' }])
  })

  test('a stream without its last event is cut, although all text has arrived', async () => {
    expect(
      await rejection(streamOf(provider, server, [delta('all'), { type: 'response.output_text.done', text: 'all' }])),
    ).toMatchObject({
      code: 'PROVIDER_STREAM_CUT',
    })
  })
})

describe('requests of the Responses API', () => {
  const bodyFor = async (request: Parameters<typeof answerOf>[3]) => {
    const answer = await answerOf(provider, server, { body: response([message(text('a'))]) }, request)
    return { path: server.requests.at(-1)?.path, body: lastBodyAt(server), notes: answer.notes }
  }

  test('contain instructions, input and settings, and disable storage', async () => {
    const { path, body, notes } = await bodyFor({ system: 'Be brief.', settings: { temperature: 0.5, topP: 0.9, maxTokens: 50 } })
    expect(path).toBe('/v1/responses')
    expect(body).toEqual({
      model: 'gpt-4o',
      input: [{ role: 'user', content: 'Hello.' }],
      instructions: 'Be brief.',
      store: false,
      temperature: 0.5,
      top_p: 0.9,
      max_output_tokens: 50,
    })
    expect(notes).toEqual([])
  })

  test('leave out stop sequences and raise a token bound that is too small, with notes', async () => {
    const { body, notes } = await bodyFor({ settings: { stopSequences: ['END'], maxTokens: 5 } })
    expect(body).toMatchObject({ max_output_tokens: 16 })
    expect(body).not.toHaveProperty('stop')
    expect(notes).toHaveLength(2)
  })

  test('bind the answer to a schema natively', async () => {
    const { body } = await bodyFor({ outputSchema: { type: 'object', properties: {}, additionalProperties: false } })
    expect(body).toMatchObject({ text: { format: { type: 'json_schema', name: 'answer', strict: true } } })
  })
})

describe('reasoning between marks, from open models at another address', () => {
  const body = response([message(text('<think>first'), text(' this</think>\nThe answer.'))])

  test('is kept separate in a plain answer', async () => {
    expect(await answerOf(provider, server, { body })).toMatchObject({ text: 'The answer.', reasoningText: 'first this' })
  })

  test('is kept separate in a stream, even if the last event repeats the whole text', async () => {
    const answer = await streamOf(provider, server, [
      delta('<thi'),
      delta('nk>first this</th'),
      delta('ink>\nThe '),
      delta('answer.'),
      completed(body),
    ])
    expect(answer).toMatchObject({ text: 'The answer.', reasoningText: 'first this', streamed: 'The answer.' })
  })

  test('is recognised without an opening mark', async () => {
    expect(await answerOf(provider, server, { body: response([message(text('first this</think>The answer.'))]) })).toMatchObject({
      text: 'The answer.',
      reasoningText: 'first this',
    })
  })
})

test("an event without a type that reports a failure is the vendor's error", async () => {
  const error = await rejection(streamOf(provider, server, [delta('Half'), { detail: 'Out of memory' }]))
  expect(error).toMatchObject({ code: 'PROVIDER_UNAVAILABLE', message: expect.stringContaining('Out of memory') })
})
