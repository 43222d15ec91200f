import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { callFactsOf } from '../../src/domain/execution/call-facts.ts'
import type { ModelRequest } from '../../src/domain/execution/model-call.ts'
import { createGoogleProvider } from '../../src/providers/google/google.ts'
import type { GenerateOptions, Provider } from '../../src/providers/provider.ts'
import { describeProvider, type VendorWire } from '../contracts/provider.ts'
import { createVendorServer, SSE_HEADERS, type VendorServer } from '../support/vendor-server.ts'

/** Events as Google frames them: with CRLF. */
const stream = (...chunks: readonly unknown[]) => ({
  headers: SSE_HEADERS,
  body: chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\r\n\r\n`).join(''),
})

const USAGE = { promptTokenCount: 10, candidatesTokenCount: 5, totalTokenCount: 15 }
const chunk = (parts: readonly unknown[], finishReason?: string, usageMetadata?: unknown) => ({
  candidates: [{ content: { role: 'model', parts }, ...(finishReason && { finishReason }), index: 0 }],
  ...(usageMetadata !== undefined && { usageMetadata }),
  modelVersion: 'answering-model',
})
const text = (value: string) => ({ text: value })

const wire: VendorWire = {
  whole: (value) => ({ body: chunk([text(value)], 'STOP', USAGE) }),
  streamed: (chunks) => stream(...chunks.map((value) => chunk([text(value)])), chunk([text('')], 'STOP', USAGE)),
  terminalMarks: ['data: {"candidates":[{"content":{"role":"model","parts":[{"text":""}]},"finishReason":"STOP"'],
  error: (status, message) => ({ status, body: { error: { code: status, message, status: 'SOME_STATUS' } } }),
  errorInStream: (value) =>
    stream(chunk([text(value)]), { error: { code: 503, message: 'The model is overloaded.', status: 'UNAVAILABLE' } }),
}

const create = (baseUrl: string, apiKey?: string) =>
  createGoogleProvider({ id: 'gemini', vendor: 'google', baseUrl, apiKey, simulated: false })

describeProvider({ name: 'google', create, wire, model: 'gemini-2.5-flash' })

describe('google', () => {
  let server: VendorServer
  let provider: Provider
  beforeAll(async () => {
    server = await createVendorServer()
  })
  beforeEach(async () => {
    provider = await create(server.url, 'AIza-key')
    server.answer(wire.whole('hello'))
  })
  afterAll(() => server.close())

  const generate = (request: Partial<ModelRequest> = {}, options: Partial<GenerateOptions> = {}) =>
    provider.generate(
      { model: 'gemini-2.5-flash', messages: [{ role: 'user', content: 'hi' }], settings: {}, ...request },
      { signal: new AbortController().signal, ...options },
    )
  const streamed = () => generate({}, { onDelta: () => undefined })
  const lastRequest = () => server.requests.at(-1)

  describe('requests to Google', () => {
    test('the key is sent in a header, not in the address', async () => {
      await generate()
      expect(lastRequest()).toMatchObject({
        method: 'POST',
        path: '/v1beta/models/gemini-2.5-flash:generateContent',
        headers: { 'x-goog-api-key': 'AIza-key', 'content-type': 'application/json' },
      })
      server.answer(wire.streamed(['a']))
      await streamed()
      expect(lastRequest()?.path).toBe('/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse')
    })

    test('a base URL with a version keeps it, and a model name cannot leave the path of models', async () => {
      provider = await create(`${server.url}/gateway/v1/`, 'k')
      await generate({ model: 'tunedModels/mine' })
      expect(lastRequest()?.path).toBe('/gateway/v1/tunedModels/mine:generateContent')
      await generate({ model: 'x?alt=json#' })
      expect(lastRequest()?.path).toBe('/gateway/v1/models/x%3Falt%3Djson%23:generateContent')
    })

    test('roles, system and settings have the field names of the API', async () => {
      await generate({
        system: 'be kind',
        messages: [
          { role: 'user', content: 'a' },
          { role: 'assistant', content: 'b' },
          { role: 'user', content: 'c' },
        ],
        settings: { temperature: 0.2, topP: 0.9, maxTokens: 7, stopSequences: ['END'] },
      })
      expect(lastRequest()?.body).toEqual({
        contents: [
          { role: 'user', parts: [{ text: 'a' }] },
          { role: 'model', parts: [{ text: 'b' }] },
          { role: 'user', parts: [{ text: 'c' }] },
        ],
        systemInstruction: { role: 'system', parts: [{ text: 'be kind' }] },
        generationConfig: { temperature: 0.2, topP: 0.9, maxOutputTokens: 7, stopSequences: ['END'] },
      })
    })

    test('a sixth stop sequence is left out with a note', async () => {
      const answer = await generate({ settings: { stopSequences: ['1', '2', '3', '4', '5', '6'] } })
      expect(lastRequest()?.body).toMatchObject({ generationConfig: { stopSequences: ['1', '2', '3', '4', '5'] } })
      expect(answer.notes).toEqual([expect.stringContaining('stopSequences')])
    })

    test('a schema is sent to models that support it, and only a JSON media type to older ones', async () => {
      const outputSchema = {
        $schema: 'https://json-schema.org/draft/2020-12/schema',
        type: 'object',
        properties: { a: { type: 'string' } },
      }
      await generate({ outputSchema })
      expect(lastRequest()?.body).toMatchObject({
        generationConfig: {
          responseMimeType: 'application/json',
          responseJsonSchema: { type: 'object', properties: { a: { type: 'string' } } },
        },
      })
      const answer = await generate({ model: 'gemini-2.0-flash', outputSchema })
      expect(lastRequest()?.body).toMatchObject({ generationConfig: { responseMimeType: 'application/json' } })
      expect(lastRequest()?.body).not.toHaveProperty('generationConfig.responseJsonSchema')
      expect(answer.notes).toEqual([expect.stringContaining('outputSchema')])
    })

    test('Gemma gets the system prompt as its first message, with a note', async () => {
      const answer = await generate({ model: 'gemma-3-27b-it', system: 'be kind' })
      expect(lastRequest()?.body).toEqual({
        contents: [
          { role: 'user', parts: [{ text: 'be kind' }] },
          { role: 'user', parts: [{ text: 'hi' }] },
        ],
        generationConfig: {},
      })
      expect(answer.notes).toEqual([expect.stringContaining('system')])
    })
  })

  describe('answers of Google', () => {
    /** The same answer asked for whole and streamed. */
    const bothWays = async (body: unknown) => {
      server.answer({ body })
      const whole = await generate().catch((error: unknown) => error)
      server.answer(stream(body))
      return [whole, await streamed().catch((error: unknown) => error)]
    }

    test.each([
      ['STOP', 'stop'],
      ['MAX_TOKENS', 'length'],
      ['CONTINUATION', 'length'],
      ['SAFETY', 'content_filter'],
      ['RECITATION', 'content_filter'],
      ['BLOCKLIST', 'content_filter'],
      ['PROHIBITED_CONTENT', 'content_filter'],
      ['SPII', 'content_filter'],
      ['MODEL_ARMOR', 'content_filter'],
      ['IMAGE_SAFETY', 'content_filter'],
      ['IMAGE_PROHIBITED_CONTENT', 'content_filter'],
      ['IMAGE_RECITATION', 'content_filter'],
      ['A_SAFETY_FILTER_TO_COME', 'content_filter'],
      ['LANGUAGE', 'other'],
      ['OTHER', 'other'],
      ['IMAGE_OTHER', 'other'],
      ['NO_IMAGE', 'other'],
      ['MALFORMED_FUNCTION_CALL', 'other'],
      ['UNEXPECTED_TOOL_CALL', 'other'],
      ['TOO_MANY_TOOL_CALLS', 'other'],
      ['MISSING_THOUGHT_SIGNATURE', 'other'],
      ['constructor', 'other'],
    ])('a finish with %s and no part is %s, whole or streamed', async (word, finishReason) => {
      const notes = word === 'STOP' || word === 'MAX_TOKENS' ? [] : [`Gemini finished with ${word}`]
      for (const answer of await bothWays({ candidates: [{ finishReason: word }] }))
        expect(answer).toMatchObject({ text: '', finishReason, notes })
    })

    test('a blocked prompt is CONTENT_FILTERED with its reason and its usage', async () => {
      for (const rest of [{}, { candidates: [] }, { candidates: [{ content: { role: 'model' }, finishReason: 'STOP' }] }])
        for (const error of await bothWays({ promptFeedback: { blockReason: 'JAILBREAK' }, usageMetadata: USAGE, ...rest })) {
          expect(error).toMatchObject({ code: 'CONTENT_FILTERED', message: expect.stringContaining('JAILBREAK') })
          expect(callFactsOf(error)).toMatchObject({ usage: { inputTokens: 10 } })
        }
    })

    test('a block in the middle of a stream ends it as filtered, with the reason', async () => {
      server.answer(stream(chunk([text('half')]), { promptFeedback: { blockReason: 'PROHIBITED_CONTENT' } }))
      const answer = await streamed()
      expect(answer).toMatchObject({ text: 'half', finishReason: 'content_filter' })
      expect(answer.notes.join()).toContain('PROHIBITED_CONTENT')
    })

    test('an answer without candidates is an error', async () => {
      const [whole, cut] = await bothWays({ candidates: [], usageMetadata: USAGE })
      expect(whole).toMatchObject({ code: 'PROVIDER_BAD_REPLY' })
      expect(cut).toMatchObject({ code: 'PROVIDER_STREAM_CUT' })
    })

    test('the last count of a stream is final, even if its total is lower', async () => {
      const counts = [
        { promptTokenCount: 16, candidatesTokenCount: 75, thoughtsTokenCount: 78, totalTokenCount: 169 },
        { promptTokenCount: 16, candidatesTokenCount: 75, totalTokenCount: 91 },
      ]
      server.answer(stream(chunk([text('a')], undefined, counts[0]), chunk([text('b')], 'STOP', counts[1])))
      expect((await streamed()).usage).toEqual({ inputTokens: 16, outputTokens: 75, totalTokens: 91, source: 'reported' })
    })

    test('a last chunk that counts only the prompt does not reset the output', async () => {
      const counts = [
        { promptTokenCount: 46, candidatesTokenCount: 51, thoughtsTokenCount: 101, totalTokenCount: 198 },
        { promptTokenCount: 46, totalTokenCount: 46 },
      ]
      server.answer(stream(chunk([text('a')], undefined, counts[0]), chunk([text('')], 'STOP', counts[1])))
      expect((await streamed()).usage).toMatchObject({ inputTokens: 46, outputTokens: 152, reasoningTokens: 101 })
    })

    test('thoughts are delivered separately from the text, and parts left out are named once', async () => {
      const chunks: string[] = []
      const thoughts: string[] = []
      server.answer(
        stream(
          chunk([{ text: 'plan ', thought: true, thoughtSignature: 'c2ln' }]),
          chunk([{ text: 'more', thought: true }, { executableCode: { language: 'PYTHON', code: '1' } }]),
          chunk(
            [{ codeExecutionResult: { outcome: 'OUTCOME_OK', output: '1' } }, { text: 'Answer', thoughtSignature: 'c2ln' }],
            'STOP',
            USAGE,
          ),
        ),
      )
      const answer = await generate({}, { onDelta: (value) => chunks.push(value), onReasoning: (value) => thoughts.push(value) })
      expect(answer).toMatchObject({ text: 'Answer', reasoningText: 'plan more' })
      expect({ chunks, thoughts }).toEqual({ chunks: ['Answer'], thoughts: ['plan ', 'more'] })
      expect(answer.notes).toEqual(['parts of the answer were left out: executableCode, codeExecutionResult'])
    })

    test('grounding becomes sources, with ranges in characters instead of bytes', async () => {
      const answered = 'Äpfel fallen. Über München.'
      const groundingMetadata = {
        webSearchQueries: ['apples'],
        groundingChunks: [
          { web: { uri: 'https://a.example', title: 'A' } },
          { retrievedContext: { uri: 'gs://b', title: 'B', text: 'kept text' } },
        ],
        groundingSupports: [
          { segment: { endIndex: 14, text: 'Äpfel fallen.' }, groundingChunkIndices: [0, 1] },
          { segment: { startIndex: 3, endIndex: 5, text: 'Über München.' }, groundingChunkIndices: [1] },
          { segment: { startIndex: 900, endIndex: 990, text: 'not in it' }, groundingChunkIndices: [0, 7] },
        ],
      }
      const sources = [
        { kind: 'search_result', url: 'https://a.example', title: 'A' },
        { kind: 'search_result', url: 'gs://b', title: 'B', text: 'kept text' },
        { kind: 'citation', url: 'https://a.example', title: 'A', text: 'Äpfel fallen.', startIndex: 0, endIndex: 13 },
        { kind: 'citation', url: 'gs://b', title: 'B', text: 'Äpfel fallen.', startIndex: 0, endIndex: 13 },
        { kind: 'citation', url: 'gs://b', title: 'B', text: 'Über München.', startIndex: 14, endIndex: 27 },
        { kind: 'citation', url: 'https://a.example', title: 'A', text: 'not in it' },
      ]
      const [candidate] = chunk([text(answered)], 'STOP').candidates
      for (const answer of await bothWays({ candidates: [{ ...candidate, groundingMetadata }] })) {
        expect(answer).toMatchObject({ text: answered, notes: ['Gemini searched the web for: "apples"'] })
        expect(answer).toHaveProperty('sources', sources)
      }
    })

    test('citations and retrieved pages are sources, and a page that failed is not', async () => {
      const [candidate] = chunk([text('Über uns')], 'STOP').candidates
      const more = {
        citationMetadata: { citations: [{ startIndex: 0, endIndex: 5, uri: 'https://c.example', title: 'C' }] },
        urlContextMetadata: {
          urlMetadata: [
            { retrievedUrl: 'https://read.example', urlRetrievalStatus: 'URL_RETRIEVAL_STATUS_SUCCESS' },
            { retrievedUrl: 'https://lost.example', urlRetrievalStatus: 'URL_RETRIEVAL_STATUS_ERROR' },
          ],
        },
      }
      for (const answer of await bothWays({ candidates: [{ ...candidate, ...more }] }))
        expect(answer).toHaveProperty('sources', [
          { kind: 'search_result', url: 'https://read.example' },
          { kind: 'citation', url: 'https://c.example', title: 'C', startIndex: 0, endIndex: 4 },
        ])
    })

    test('the service tier is that of the API', async () => {
      const tiered = { ...USAGE, trafficType: 'ON_DEMAND_FLEX' }
      for (const answer of await bothWays(chunk([text('a')], 'STOP', tiered)))
        expect(answer).toHaveProperty('serviceTier', 'ON_DEMAND_FLEX')
      for (const answer of await bothWays(chunk([text('a')], 'STOP', USAGE))) expect(answer).not.toHaveProperty('serviceTier')
    })

    test('output is candidates plus thoughts, input is prompt plus tool prompts, cached tokens are part of input', async () => {
      const usageMetadata = {
        promptTokenCount: 19,
        toolUsePromptTokenCount: 69,
        cachedContentTokenCount: 8,
        candidatesTokenCount: 47,
        thoughtsTokenCount: 117,
        totalTokenCount: 252,
      }
      server.answer({ body: chunk([text('ok')], 'STOP', usageMetadata) })
      expect((await generate()).usage).toEqual({
        inputTokens: 88,
        cachedInputTokens: 8,
        outputTokens: 164,
        reasoningTokens: 117,
        totalTokens: 252,
        source: 'reported',
      })
    })

    test('usage of a stream is cumulative: the greatest total counts, not the sum and not a figure that fell back', async () => {
      server.answer(
        stream(
          chunk([{ executableCode: { code: '1+1' } }], undefined, {
            promptTokenCount: 46,
            candidatesTokenCount: 51,
            thoughtsTokenCount: 101,
            totalTokenCount: 198,
          }),
          chunk([{ codeExecutionResult: { output: '2' } }], undefined, { promptTokenCount: 46, totalTokenCount: 46 }),
          chunk([text('It is 2.')], undefined, {
            promptTokenCount: 46,
            candidatesTokenCount: 57,
            thoughtsTokenCount: 67,
            totalTokenCount: 170,
          }),
          chunk([text('')], 'STOP', {
            promptTokenCount: 147,
            candidatesTokenCount: 108,
            thoughtsTokenCount: 168,
            toolUsePromptTokenCount: 360,
            totalTokenCount: 783,
          }),
        ),
      )
      expect(await streamed()).toMatchObject({
        text: 'It is 2.',
        usage: { inputTokens: 507, outputTokens: 276, reasoningTokens: 168, totalTokens: 783 },
      })
    })

    test('a missing field is dropped if the total adds up without it, and kept otherwise', async () => {
      const first = { promptTokenCount: 9, candidatesTokenCount: 15, thoughtsTokenCount: 78, totalTokenCount: 102 }
      server.answer(
        stream(
          chunk([text('a')], undefined, first),
          chunk([text('b')], 'STOP', { promptTokenCount: 87, thoughtsTokenCount: 78, totalTokenCount: 165 }),
        ),
      )
      expect((await streamed()).usage).toMatchObject({ inputTokens: 87, outputTokens: 78, reasoningTokens: 78 })
      server.answer(
        stream(
          chunk([text('a')], undefined, first),
          chunk([text('b')], 'STOP', { promptTokenCount: 9, candidatesTokenCount: 20, totalTokenCount: 107 }),
        ),
      )
      expect((await streamed()).usage).toMatchObject({ inputTokens: 9, outputTokens: 98, reasoningTokens: 78, totalTokens: 107 })
    })

    test('a lower last figure does not reset the usage', async () => {
      server.answer(
        stream(chunk([text('a')], undefined, USAGE), chunk([], 'STOP', { promptTokenCount: 10, totalTokenCount: 10 })),
      )
      expect((await streamed()).usage).toMatchObject({ inputTokens: 10, outputTokens: 5, totalTokens: 15 })
    })

    test('a last chunk with an empty usage does not reset the usage', async () => {
      server.answer(stream(chunk([text('a')], undefined, USAGE), chunk([text('b')], 'STOP', { trafficType: 'ON_DEMAND' })))
      expect((await streamed()).usage).toMatchObject({ inputTokens: 10, outputTokens: 5 })
    })

    test('an answer without usage has unknown usage, not 0', async () => {
      server.answer({ body: chunk([text('ok')], 'STOP') })
      expect((await generate()).usage).toEqual({ source: 'unknown' })
    })

    test.each([
      ['STOP', 'stop'],
      ['MAX_TOKENS', 'length'],
      ['SAFETY', 'content_filter'],
      ['RECITATION', 'content_filter'],
      ['BLOCKLIST', 'content_filter'],
      ['PROHIBITED_CONTENT', 'content_filter'],
      ['SPII', 'content_filter'],
      ['MALFORMED_FUNCTION_CALL', 'other'],
      ['SOMETHING_NEW', 'other'],
    ])('finish reason %s is read as %s, streamed or not', async (finishReason, read) => {
      server.answer({ body: chunk([text('ok')], finishReason, USAGE) })
      expect((await generate()).finishReason).toBe(read)
      server.answer(stream(chunk([text('ok')], finishReason, USAGE)))
      expect((await streamed()).finishReason).toBe(read)
    })

    test('function calls with STOP become tool calls', async () => {
      const parts = [
        text('Checking.'),
        { functionCall: { name: 'weather', args: { city: 'Berlin' } } },
        { functionCall: { id: 'c2', name: 'time' } },
      ]
      server.answer({ body: chunk(parts, 'STOP', USAGE) })
      expect(await generate()).toMatchObject({
        text: 'Checking.',
        finishReason: 'tool_calls',
        toolCalls: [
          { name: 'weather', arguments: '{"city":"Berlin"}' },
          { id: 'c2', name: 'time', arguments: '{}' },
        ],
      })
    })

    test('the text consists of all text parts but thoughts, and pictures are files', async () => {
      const parts = [
        { text: 'hm', thought: true },
        text('one '),
        { inlineData: { mimeType: 'image/png', data: 'AAAA' } },
        text('two'),
      ]
      server.answer({ body: chunk(parts, 'STOP', USAGE) })
      const answer = await generate()
      expect(answer).toMatchObject({ text: 'one two', reasoningText: 'hm', finishReason: 'stop' })
      expect(answer.files).toEqual([{ mediaType: 'image/png', data: Buffer.from('AAAA', 'base64') }])
      expect(answer.notes).toEqual([])
      const chunks: string[] = []
      server.answer(stream(chunk(parts, 'STOP', USAGE)))
      await generate({}, { onDelta: (value) => chunks.push(value) })
      expect(chunks).toEqual(['one ', 'two'])
    })

    test('of several candidates the one with index 0 is the answer, at any position', async () => {
      const other = { content: { parts: [text('another')] }, finishReason: 'STOP', index: 1 }
      const first = { content: { parts: [text('ok')] }, finishReason: 'STOP', index: 0 }
      server.answer(stream({ candidates: [other, first] }, { candidates: [other] }))
      expect(await streamed()).toMatchObject({ text: 'ok', finishReason: 'stop' })
    })

    test('usage after the finish reason is still read', async () => {
      server.answer(stream(chunk([text('ok')], 'STOP'), { usageMetadata: USAGE, modelVersion: 'answering-model' }))
      expect((await streamed()).usage).toMatchObject({ inputTokens: 10, outputTokens: 5 })
    })

    test('a stream sent as one JSON list is delivered', async () => {
      server.answer({ body: [chunk([text('a')]), chunk([text('b')], 'STOP', USAGE)] })
      expect(await streamed()).toMatchObject({ text: 'ab', usage: { inputTokens: 10 } })
    })
  })

  describe('failures', () => {
    const invalidKey = {
      status: 400,
      body: {
        error: {
          code: 400,
          message: 'API key not valid. Please pass a valid API key.',
          status: 'INVALID_ARGUMENT',
          details: [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'API_KEY_INVALID', domain: 'googleapis.com' }],
        },
      },
    }

    test('a bad key, a 400 at Google, is PROVIDER_AUTH', async () => {
      server.answer(invalidKey)
      await expect(generate()).rejects.toMatchObject({ code: 'PROVIDER_AUTH', retryable: false })
    })

    test('the wait in a body of Google is kept in milliseconds', async () => {
      server.answer({
        status: 429,
        body: {
          error: {
            code: 429,
            message: 'You exceeded your current quota.',
            status: 'RESOURCE_EXHAUSTED',
            details: [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '34.4s' }],
          },
        },
      })
      const error = await generate().catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code: 'PROVIDER_RATE_LIMITED', retryable: true })
      expect(callFactsOf(error)).toMatchObject({ retryAfterMs: 34_400, status: 429 })
    })

    test('a blocked prompt is CONTENT_FILTERED, with the tokens of the prompt', async () => {
      const blocked = {
        promptFeedback: { blockReason: 'PROHIBITED_CONTENT' },
        usageMetadata: { promptTokenCount: 12, totalTokenCount: 12 },
        modelVersion: 'answering-model',
      }
      for (const [answer, ask] of [
        [{ body: blocked }, generate],
        [stream(blocked), streamed],
      ] as const) {
        server.answer(answer)
        const error = await ask().catch((thrown: unknown) => thrown)
        expect(error).toMatchObject({ code: 'CONTENT_FILTERED', message: expect.stringContaining('PROHIBITED_CONTENT') })
        expect(callFactsOf(error)).toMatchObject({ usage: { inputTokens: 12 } })
      }
    })

    test('an error inside a stream keeps its own status', async () => {
      server.answer(wire.errorInStream('half'))
      await expect(streamed()).rejects.toMatchObject({ code: 'PROVIDER_UNAVAILABLE', retryable: true })
    })

    test('a stream that breaks after a finish reason is not an answer', async () => {
      server.answer({ ...stream(chunk([text('half')], 'STOP')), after: 'drop' })
      await expect(streamed()).rejects.toMatchObject({ code: 'PROVIDER_STREAM_CUT' })
    })

    test('the error of a cut stream has the usage so far', async () => {
      server.answer(
        stream(chunk([text('half')], undefined, { promptTokenCount: 10, candidatesTokenCount: 3, totalTokenCount: 13 })),
      )
      const error = await streamed().catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code: 'PROVIDER_STREAM_CUT' })
      expect(callFactsOf(error)).toMatchObject({ generated: true, usage: { inputTokens: 10, outputTokens: 3 } })
    })

    test('an error whose body breaks off keeps the code of its status', async () => {
      server.answer({ status: 401, headers: { 'content-type': 'application/json' }, body: '{"error":', after: 'drop' })
      await expect(generate()).rejects.toMatchObject({ code: 'PROVIDER_AUTH', retryable: false })
    })

    test('ping requests the models and checks the response', async () => {
      server.answer({ body: { models: [] } })
      await provider.ping?.(new AbortController().signal)
      expect(lastRequest()).toMatchObject({
        method: 'GET',
        path: '/v1beta/models?pageSize=1',
        headers: { 'x-goog-api-key': 'AIza-key' },
      })
      server.answer(invalidKey)
      await expect(provider.ping?.(new AbortController().signal)).rejects.toMatchObject({ code: 'PROVIDER_AUTH' })
    })
  })
})
