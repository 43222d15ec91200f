import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { callFactsOf } from '../../src/domain/execution/call-facts.ts'
import type { ModelMessage, ModelRequest, ModelSettings } from '../../src/domain/execution/model-call.ts'
import { createGoogleProvider } from '../../src/providers/google/google.ts'
import type { GenerateOptions, Provider } from '../../src/providers/provider.ts'
import { rejection } from '../support/caught.ts'
import { filePart } from '../support/file-part.ts'
import { createVendorServer, SSE_HEADERS, sse, type VendorServer } from '../support/vendor-server.ts'

const USAGE = { promptTokenCount: 10, candidatesTokenCount: 5, totalTokenCount: 15 }
const chunk = (parts: readonly object[], finishReason?: string) => ({
  candidates: [{ content: { role: 'model', parts }, ...(finishReason && { finishReason }) }],
  usageMetadata: USAGE,
  modelVersion: 'answering-model',
})
const ANSWER = { body: chunk([{ text: 'hello' }], 'STOP') }

const weather = {
  name: 'weather',
  description: 'The weather of a city',
  parameters: {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
  },
}
const user = (content: string, rest = {}): ModelMessage => ({ role: 'user', content, ...rest })

describe('Gemini', () => {
  let server: VendorServer
  let provider: Provider
  beforeAll(async () => {
    server = await createVendorServer()
    provider = await createGoogleProvider({ id: 'gemini', vendor: 'google', baseUrl: server.url, simulated: false })
  })
  beforeEach(() => server.answer(ANSWER))
  afterAll(() => server.close())

  const generate = (request: Partial<ModelRequest>, options: Partial<GenerateOptions> = {}) =>
    provider.generate(
      { model: 'gemini-2.5-flash', messages: [user('hi')], settings: {}, ...request },
      { signal: new AbortController().signal, ...options },
    )
  const send = async (request: Partial<ModelRequest>) => {
    const { notes } = await generate(request)
    return { notes, body: server.requests.at(-1)?.body }
  }
  const config = (expected: object) => ({ generationConfig: expected })

  describe('settings', () => {
    test.each<[string, ModelSettings['reasoning'], object]>([
      ['gemini-2.5-flash', 'none', { thinkingBudget: 0 }],
      ['gemini-2.5-flash', 'low', { thinkingBudget: 1_024, includeThoughts: true }],
      ['gemini-2.5-flash', 'max', { thinkingBudget: 24_576, includeThoughts: true }],
      ['gemini-2.5-pro', 'max', { thinkingBudget: 32_768, includeThoughts: true }],
      ['gemini-2.5-flash-lite', { maxTokens: 700 }, { thinkingBudget: 700, includeThoughts: true }],
      ['gemini-3-flash-preview', 'minimal', { thinkingLevel: 'MINIMAL', includeThoughts: true }],
      ['gemini-3.1-pro-preview', 'medium', { thinkingLevel: 'MEDIUM', includeThoughts: true }],
      ['gemini-3.8-flash', { maxTokens: 2_000 }, { thinkingBudget: 2_000, includeThoughts: true }],
      ['models/gemini-4-argon', 'high', { thinkingLevel: 'HIGH', includeThoughts: true }],
    ])('reasoning of %s with %j', async (model, reasoning, thinkingConfig) => {
      const { body, notes } = await send({ model, settings: { reasoning } })
      expect(body).toMatchObject(config({ thinkingConfig }))
      expect(notes).toEqual([])
    })

    test.each<[string, ModelSettings, object, string]>([
      ['gemini-2.5-pro', { reasoning: 'none' }, { thinkingBudget: 128 }, 'always reasons'],
      ['gemini-3.8-flash', { reasoning: 'none' }, { thinkingLevel: 'LOW' }, 'always reasons'],
      ['gemini-3-pro-preview', { reasoning: 'medium' }, { thinkingLevel: 'HIGH' }, 'nearest level'],
      ['gemini-3.8-flash', { reasoning: 'minimal' }, { thinkingLevel: 'LOW' }, 'nearest level'],
      ['gemini-3.8-flash', { reasoning: 'max' }, { thinkingLevel: 'HIGH' }, 'nearest level'],
      ['gemini-2.5-flash', { maxTokens: 1_000, reasoning: { maxTokens: 900 } }, { thinkingBudget: 800 }, 'changed to 800'],
    ])('reasoning of %s with %j is fitted with a note', async (model, settings, thinkingConfig, note) => {
      const { body, notes } = await send({ model, settings })
      expect(body).toMatchObject(config({ thinkingConfig }))
      expect(notes).toEqual([expect.stringContaining(note)])
    })

    test('reasoning is left out with a note for a model that does not let it be set', async () => {
      const { body, notes } = await send({ model: 'gemini-2.0-flash', settings: { reasoning: 'high' } })
      expect(body).toEqual({ contents: [{ role: 'user', parts: [{ text: 'hi' }] }], generationConfig: {} })
      expect(notes).toEqual([expect.stringContaining('reasoning was left out')])
      expect((await send({ model: 'gemini-2.0-flash', settings: { reasoning: 'none' } })).notes).toEqual([])
    })

    test('a seed is sent, and a lifetime of the cache is left out with a note', async () => {
      const { body, notes } = await send({ settings: { seed: 7, cache: { ttl: '1h' } } })
      expect(body).toMatchObject(config({ seed: 7 }))
      expect(notes).toEqual([expect.stringContaining('cache.ttl was left out')])
      expect((await send({ settings: { cache: 'off' } })).notes).toEqual([])
    })

    test('options are merged last, also within generationConfig', async () => {
      const options = { google: { generationConfig: { topK: 5 }, safetySettings: [] }, gemini: { serviceTier: 'flex' } }
      const { body } = await send({ settings: { temperature: 0.5, options } })
      expect(body).toMatchObject({ generationConfig: { temperature: 0.5, topK: 5 }, safetySettings: [], serviceTier: 'flex' })
      await expect(generate({ settings: { options: { google: { contents: [] } } } })).rejects.toMatchObject({
        code: 'PROVIDER_REJECTED',
      })
    })

    test('a strict request is refused before it is sent, with all that would be left out', async () => {
      const before = server.requests.length
      const settings = { reasoning: 'high', parallelToolCalls: false, cache: { ttl: '5m' } } as const
      await expect(generate({ model: 'gemini-2.0-flash', strict: true, settings, tools: [weather] })).rejects.toMatchObject({
        code: 'PROVIDER_REJECTED',
        message: expect.stringMatching(/reasoning.*cache\.ttl.*parallelToolCalls/s),
      })
      expect(server.requests.length).toBe(before)
    })
  })

  describe('tools', () => {
    test('tools are sent with their schemas', async () => {
      const { body, notes } = await send({ tools: [weather, { name: 'now', parameters: { type: 'object', properties: {} } }] })
      expect(body).toMatchObject({
        tools: [
          {
            functionDeclarations: [
              {
                name: 'weather',
                description: 'The weather of a city',
                parametersJsonSchema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
              },
              { name: 'now' },
            ],
          },
        ],
      })
      expect(JSON.stringify(body)).not.toContain('$schema')
      expect(JSON.stringify(body).match(/parametersJsonSchema/g)).toHaveLength(1)
      expect(body).not.toHaveProperty('toolConfig')
      expect(notes).toEqual([])
    })

    test.each([
      ['required', { mode: 'ANY' }],
      ['none', { mode: 'NONE' }],
      [{ name: 'weather' }, { mode: 'ANY', allowedFunctionNames: ['weather'] }],
    ] as const)('toolChoice %j', async (toolChoice, functionCallingConfig) => {
      const { body } = await send({ tools: [weather], toolChoice })
      expect(body).toMatchObject({ toolConfig: { functionCallingConfig } })
    })

    test('hosted tools are sent by their names at Google', async () => {
      const { body } = await send({ hostedTools: ['web_search', 'web_fetch', 'url_context', 'code_execution'] })
      expect(body).toMatchObject({ tools: [{ googleSearch: {} }, { urlContext: {} }, { codeExecution: {} }] })
      expect(body).not.toHaveProperty('toolConfig')
    })

    test('hosted tools stand beside own tools from Gemini 3 on, and are refused before', async () => {
      const { body } = await send({ model: 'gemini-3.8-flash', hostedTools: ['web_search'], tools: [weather] })
      expect(body).toMatchObject({
        tools: [{ googleSearch: {} }, { functionDeclarations: [{ name: 'weather' }] }],
        toolConfig: { includeServerSideToolInvocations: true },
      })
      await expect(generate({ hostedTools: ['web_search'], tools: [weather] })).rejects.toMatchObject({
        code: 'PROVIDER_REJECTED',
        message: expect.stringContaining('gemini-2.5-flash'),
      })
    })

    test('an unknown hosted tool is refused with the known ones', async () => {
      await expect(generate({ hostedTools: ['image_generation'] })).rejects.toMatchObject({
        code: 'PROVIDER_REJECTED',
        message: expect.stringContaining('hosted/web_search, hosted/web_fetch, hosted/url_context, hosted/code_execution'),
      })
    })

    test('beside tools a schema of the answer is left out for models before Gemini 3', async () => {
      const outputSchema = { type: 'object', properties: {} }
      const old = await send({ outputSchema, tools: [weather] })
      expect(old.body).toMatchObject({ generationConfig: {} })
      expect(old.body).not.toHaveProperty('generationConfig.responseMimeType')
      expect(old.notes).toEqual([expect.stringContaining('outputSchema was left out')])
      const recent = await send({ model: 'gemini-3.8-flash', outputSchema, tools: [weather] })
      expect(recent.body).toMatchObject(config({ responseMimeType: 'application/json' }))
    })
  })

  describe('turns', () => {
    const call = (name: string, city: string, rest = {}) => ({ functionCall: { name, args: { city } }, ...rest })
    const results = (...ids: readonly string[]): readonly ModelMessage[] =>
      ids.map((id) => ({ role: 'tool', toolCallId: id, toolName: 'weather', content: `result of ${id}` }))
    const rebuilt: readonly ModelMessage[] = [
      user('weather?'),
      {
        role: 'assistant',
        content: 'Looking.',
        toolCalls: [
          { id: 'call_1', name: 'weather', arguments: '{"city":"Oslo"}' },
          { id: 'call_2', name: 'weather', arguments: '{"city":' },
        ],
      },
    ]

    test('the results of one turn become one content, in the order of the calls', async () => {
      const { body } = await send({
        tools: [weather],
        messages: [
          ...rebuilt,
          { role: 'tool', toolCallId: 'call_2', toolName: 'weather', content: 'bad arguments', isError: true },
          ...results('call_1'),
          user('and now?'),
        ],
      })
      expect(body).toMatchObject({
        contents: [
          { role: 'user', parts: [{ text: 'weather?' }] },
          {
            role: 'model',
            parts: [
              { text: 'Looking.' },
              { functionCall: { name: 'weather', args: { city: 'Oslo' } } },
              { functionCall: { name: 'weather', args: { INVALID_JSON: '{"city":' } } },
            ],
          },
          {
            role: 'user',
            parts: [
              { functionResponse: { name: 'weather', response: { output: 'result of call_1' } } },
              { functionResponse: { name: 'weather', response: { error: 'bad arguments' } } },
            ],
          },
          { role: 'user', parts: [{ text: 'and now?' }] },
        ],
      })
      expect(JSON.stringify(body)).not.toMatch(/"id"|thoughtSignature/)
    })

    test('the first call of a foreign turn has the signature that Gemini 3 needs', async () => {
      const { body } = await send({ model: 'gemini-3.8-flash', messages: [...rebuilt, ...results('call_1', 'call_2')] })
      expect(body).toMatchObject({
        contents: [{}, { parts: [{}, { thoughtSignature: 'skip_thought_signature_validator' }, {}] }, {}],
      })
      expect(JSON.stringify(body).match(/thoughtSignature/g)).toHaveLength(1)
    })

    const PARTS = [
      { text: 'I think. ', thought: true },
      { text: 'Looking. ' },
      { ...call('weather', 'Oslo', { thoughtSignature: 'c2ln' }) },
      { functionCall: { id: 'fc_2', name: 'weather', args: { city: 'Rome' } } },
      { text: '', thoughtSignature: 'ZW5k' },
    ]

    test('a plain turn has its calls as written, and its parts', async () => {
      server.answer({ body: chunk(PARTS, 'STOP') })
      expect(await generate({ tools: [weather] })).toMatchObject({
        text: 'Looking. ',
        reasoningText: 'I think. ',
        finishReason: 'tool_calls',
        toolCalls: [
          { name: 'weather', arguments: '{"city":"Oslo"}' },
          { id: 'fc_2', name: 'weather', arguments: '{"city":"Rome"}' },
        ],
        vendorTurn: { provider: 'gemini', model: 'gemini-2.5-flash', blocks: PARTS },
        notes: [],
      })
    })

    test.each([undefined, 1, 2])('a streamed turn, cut by seed %s, has the same parts', async (seed) => {
      const pieces = PARTS.flatMap((part) =>
        'text' in part && part.text ? [...part.text].map((text) => ({ ...part, text })) : [part],
      )
      const body = sse(...pieces.map((part) => chunk([part])), chunk([{ text: '' }], 'STOP'))
      server.answer({ headers: SSE_HEADERS, body, seed })
      const thoughts: string[] = []
      const answer = await generate(
        { tools: [weather] },
        { onDelta: () => undefined, onReasoning: (text) => thoughts.push(text) },
      )
      expect(answer.vendorTurn?.blocks).toEqual(PARTS)
      expect(thoughts.join('')).toBe('I think. ')
    })

    test('a turn of this provider and model is sent back unchanged, with the ids of Google for its results', async () => {
      const turn = {
        role: 'assistant',
        content: 'Looking. ',
        toolCalls: [
          { id: 'call_1', name: 'weather', arguments: '{"city":"Oslo"}' },
          { id: 'fc_2', name: 'weather', arguments: '{"city":"Rome"}' },
        ],
        vendorTurn: { provider: 'gemini', model: 'gemini-2.5-flash', blocks: PARTS },
      } as const
      const messages = [user('weather?'), turn, ...results('call_1', 'fc_2')]
      const { body } = await send({ tools: [weather], messages })
      expect(body).toMatchObject({
        contents: [
          {},
          { role: 'model', parts: PARTS },
          { parts: [{ functionResponse: { name: 'weather' } }, { functionResponse: { id: 'fc_2', name: 'weather' } }] },
        ],
      })
      expect(JSON.stringify(body)).not.toContain('"id":"call_1"')
      const other = await send({ model: 'gemini-2.5-pro', tools: [weather], messages })
      expect(JSON.stringify(other.body)).not.toMatch(/c2ln|I think/)
    })

    test.each(['MALFORMED_FUNCTION_CALL', 'UNEXPECTED_TOOL_CALL'])('%s is an error that is tried again', async (reason) => {
      for (const [answer, options] of [
        [{ body: chunk([], reason) }, {}],
        [{ headers: SSE_HEADERS, body: sse(chunk([], reason)) }, { onDelta: () => undefined }],
      ] as const) {
        server.answer(answer)
        const error = await rejection(generate({ tools: [weather] }, options))
        expect(error).toMatchObject({
          code: 'PROVIDER_BAD_REPLY',
          retryable: true,
          message: expect.stringContaining(`a tool call that is not valid (${reason})`),
        })
        expect(callFactsOf(error)).toMatchObject({ generated: true, usage: { inputTokens: 10 } })
      }
    })
  })

  describe('files', () => {
    const png = filePart('chart.png', 'image/png', 'PNG bytes')
    const pdf = filePart('invoice.pdf', 'application/pdf', '%PDF-1.7')
    const mp3 = filePart('talk.mp3', 'audio/mpeg', 'la la')
    const csv = filePart('rows.csv', 'text/csv', 'a;ü')

    test('images, PDFs, audio and texts come before the question', async () => {
      const { body, notes } = await send({ messages: [user('What is this?', { files: [png, pdf, mp3, csv] })] })
      expect(body).toMatchObject({
        contents: [
          {
            role: 'user',
            parts: [
              { inlineData: { mimeType: 'image/png', data: btoa('PNG bytes') } },
              { inlineData: { mimeType: 'application/pdf', data: btoa('%PDF-1.7') } },
              { inlineData: { mimeType: 'audio/mpeg', data: btoa('la la') } },
              { text: '[file "rows.csv"]\na;ü\n[end of file "rows.csv"]' },
              { text: 'What is this?' },
            ],
          },
        ],
      })
      expect(notes).toEqual([])
    })

    test.each([
      ['gemini-2.5-flash', [{ functionResponse: { name: 'weather' } }, { inlineData: { mimeType: 'image/png' } }]],
      ['gemini-3.8-flash', [{ functionResponse: { parts: [{ inlineData: { mimeType: 'image/png' } }] } }]],
    ])('files of tool results of %s are where it reads them', async (model, parts) => {
      const { body } = await send({
        model,
        messages: [
          user('map?'),
          { role: 'assistant', content: '', toolCalls: [{ id: 't1', name: 'weather', arguments: '{}' }] },
          { role: 'tool', toolCallId: 't1', toolName: 'weather', content: 'see', files: [png] },
        ],
      })
      expect(body).toMatchObject({ contents: [{}, {}, { role: 'user', parts }] })
    })

    test('a file that the vendor holds is named by its address, unread', async () => {
      const uri = 'https://generativelanguage.googleapis.com/v1beta/files/abc'
      const held = filePart('held.pdf', 'application/pdf', '', {
        vendorFileId: uri,
        read: () => Promise.reject(new Error('must not be read')),
      })
      const { body } = await send({ messages: [user('hi', { files: [held] })] })
      expect(body).toMatchObject({
        contents: [{ parts: [{ fileData: { mimeType: 'application/pdf', fileUri: uri } }, { text: 'hi' }] }],
      })
    })

    test.each([
      ['gemini-2.5-flash', filePart('a.zip', 'application/zip', 'x')],
      ['gemini-2.5-flash', filePart('a.gif', 'image/gif', 'x')],
      ['gemma-3-27b-it', mp3],
    ])('%s gets a file that it does not read left out, unread and with a note', async (model, file) => {
      const unread = { ...file, read: () => Promise.reject(new Error('must not be read')) }
      const { body, notes } = await send({ model, messages: [user('hi', { files: [unread] })] })
      expect(body).toMatchObject({ contents: [{ role: 'user', parts: [{ text: 'hi' }] }] })
      expect(notes).toEqual([expect.stringContaining(`file "${file.name}" was left out`)])
    })

    test('files over the limits of the API are refused before they are read', async () => {
      const before = server.requests.length
      const huge = (name: string, mediaType: string, byteLength: number) =>
        filePart(name, mediaType, '', { byteLength, read: () => Promise.reject(new Error('must not be read')) })
      await expect(
        generate({ messages: [user('hi', { files: [huge('book.pdf', 'application/pdf', 60_000_000)] })] }),
      ).rejects.toMatchObject({ code: 'PROVIDER_REJECTED', message: expect.stringContaining('PDF "book.pdf"') })
      await expect(
        generate({ messages: [user('hi', { files: [huge('film.mp4', 'video/mp4', 90_000_000)] })] }),
      ).rejects.toMatchObject({ code: 'PROVIDER_REJECTED', message: expect.stringContaining('at most 100 MB') })
      expect(server.requests.length).toBe(before)
    })

    test('pictures of the answer are files, also of a stream, and drafts among the thoughts are not', async () => {
      const picture = { inlineData: { mimeType: 'image/png', data: btoa('PNG') } }
      const draft = { inlineData: { mimeType: 'image/png', data: btoa('draft') }, thought: true }
      const files = [{ mediaType: 'image/png', data: Buffer.from('PNG') }]
      server.answer({ body: chunk([draft, picture], 'STOP') })
      expect(await generate({ model: 'gemini-3-pro-image' })).toMatchObject({ text: '', files, finishReason: 'stop' })
      server.answer({ headers: SSE_HEADERS, body: sse(chunk([draft, picture]), chunk([{ text: 'Here.' }], 'STOP')) })
      const answer = await generate({ model: 'gemini-3-pro-image' }, { onDelta: () => undefined })
      expect(answer).toMatchObject({ text: 'Here.', files })
      expect(answer.files).toHaveLength(1)
    })
  })
})
