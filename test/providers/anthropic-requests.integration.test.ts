import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { ModelMessage, ModelRequest, ModelSettings } from '../../src/domain/execution/model-call.ts'
import { createAnthropicProvider } from '../../src/providers/anthropic/anthropic.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { filePart } from '../support/file-part.ts'
import { createVendorServer, type VendorServer } from '../support/vendor-server.ts'

const ANSWER = {
  body: {
    type: 'message',
    model: 'answering-model',
    content: [{ type: 'text', text: 'hello' }],
    stop_reason: 'end_turn',
    usage: { input_tokens: 10, output_tokens: 5 },
  },
}

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

describe('requests to Anthropic', () => {
  let server: VendorServer
  let provider: Provider
  beforeAll(async () => {
    server = await createVendorServer()
    provider = await createAnthropicProvider({
      id: 'claude',
      vendor: 'anthropic',
      baseUrl: server.url,
      apiKey: 'sk-ant-key',
      simulated: false,
    })
  })
  beforeEach(() => server.answer(ANSWER))
  afterAll(() => server.close())

  const generate = (request: Partial<ModelRequest>) =>
    provider.generate(
      { model: 'claude-sonnet-4-6', messages: [user('hi')], settings: { maxTokens: 100 }, ...request },
      { signal: new AbortController().signal },
    )
  const send = async (request: Partial<ModelRequest>) => {
    const { notes } = await generate(request)
    const seen = server.requests.at(-1)
    return { notes, body: seen?.body, headers: seen?.headers }
  }

  describe('settings', () => {
    test.each<[string, ModelSettings['reasoning'], object]>([
      ['claude-sonnet-4-5', 'high', { thinking: { type: 'enabled', budget_tokens: 16_000 } }],
      ['claude-sonnet-4-5', 'minimal', { thinking: { type: 'enabled', budget_tokens: 1_024 } }],
      ['claude-3-7-sonnet-20250219', { maxTokens: 3_000 }, { thinking: { type: 'enabled', budget_tokens: 3_000 } }],
      ['claude-opus-4-6', { maxTokens: 3_000 }, { thinking: { type: 'enabled', budget_tokens: 3_000 } }],
      ['claude-opus-4-6', 'max', { thinking: { type: 'adaptive' }, output_config: { effort: 'max' } }],
      ['claude-opus-4-7', 'medium', { thinking: { type: 'adaptive' }, output_config: { effort: 'medium' } }],
      ['claude-opus-5', 'low', { thinking: { type: 'adaptive' }, output_config: { effort: 'low' } }],
      ['claude-opus-5', 'minimal', { thinking: { type: 'adaptive' }, output_config: { effort: 'low' } }],
      ['us.anthropic.claude-opus-5-20260724-v1:0', 'none', { thinking: { type: 'disabled' } }],
      ['claude-fable-5-1', 'high', { thinking: { type: 'adaptive' }, output_config: { effort: 'high' } }],
    ])('reasoning of %s with %j', async (model, reasoning, expected) => {
      const { body } = await send({ model, settings: { maxTokens: 40_000, reasoning } })
      expect(body).toMatchObject({ ...expected, max_tokens: 40_000 })
    })

    test.each(['claude-sonnet-4-5', 'claude-opus-4-6', 'claude-opus-4-8', 'claude-3-haiku-20240307'])(
      'nothing is sent to %s, which reasons only if asked, for reasoning "none"',
      async (model) => {
        const { body, notes } = await send({ model, settings: { maxTokens: 100, reasoning: 'none' } })
        expect(body).toEqual({ model, max_tokens: 100, messages: [{ role: 'user', content: 'hi' }] })
        expect(notes).toEqual([])
      },
    )

    test('a model that always reasons gets the lowest effort for reasoning "none", with a note', async () => {
      const { body, notes } = await send({ model: 'claude-opus-5-5', settings: { maxTokens: 100, reasoning: 'none' } })
      expect(body).toMatchObject({ output_config: { effort: 'low' } })
      expect(body).not.toHaveProperty('thinking')
      expect(notes).toEqual([expect.stringContaining('always reasons')])
    })

    test('summaries of the reasoning are asked for, because newer models send none otherwise', async () => {
      const { body } = await send({ model: 'claude-opus-4-7', settings: { maxTokens: 100, reasoning: 'low' } })
      expect(body).toMatchObject({ thinking: { display: 'summarized' } })
    })

    test('without maxTokens the bound has room for reasoning and answer', async () => {
      const { body } = await send({ model: 'claude-sonnet-4-5', settings: { reasoning: { maxTokens: 5_000 } } })
      expect(body).toMatchObject({ max_tokens: 8_192 + 5_000, thinking: { budget_tokens: 5_000 } })
    })

    test('a budget leaves room for the answer within maxTokens, and is left out where too little remains', async () => {
      const bounded = await send({ model: 'claude-sonnet-4-5', settings: { maxTokens: 10_000, reasoning: 'high' } })
      expect(bounded.body).toMatchObject({ max_tokens: 10_000, thinking: { budget_tokens: 8_000 } })
      expect(bounded.notes).toEqual([expect.stringContaining('bounded to 8000 tokens')])
      const small = await send({ model: 'claude-sonnet-4-5', settings: { maxTokens: 1_000, reasoning: 'high' } })
      expect(small.body).not.toHaveProperty('thinking')
      expect(small.notes).toEqual([expect.stringContaining('reasoning was left out')])
    })

    test('a budget is left out with a note for models that take only efforts, and reasoning for models without it', async () => {
      const adaptive = await send({ model: 'claude-opus-5', settings: { maxTokens: 5_000, reasoning: { maxTokens: 2_000 } } })
      expect(adaptive.body).toMatchObject({ thinking: { type: 'adaptive' } })
      expect(adaptive.notes).toEqual([expect.stringContaining('reasoning.maxTokens was left out')])
      const old = await send({ model: 'claude-3-haiku-20240307', settings: { maxTokens: 5_000, reasoning: 'high' } })
      expect(old.body).not.toHaveProperty('thinking')
      expect(old.notes).toEqual([expect.stringContaining('reasoning was left out')])
    })

    test('beside reasoning neither a temperature nor a low top_p is sent', async () => {
      const { body, notes } = await send({
        model: 'claude-opus-4-6',
        settings: { maxTokens: 5_000, reasoning: 'low', temperature: 0.2, topP: 0.5 },
      })
      expect(body).not.toHaveProperty('temperature')
      expect(body).not.toHaveProperty('top_p')
      expect(notes).toEqual([expect.stringContaining('temperature'), expect.stringContaining('topP')])
      const fitting = await send({
        model: 'claude-opus-4-6',
        settings: { maxTokens: 5_000, reasoning: 'low', temperature: 1, topP: 0.97 },
      })
      expect(fitting.body).toMatchObject({ top_p: 0.97 })
      expect(fitting.notes).toEqual([])
    })

    test('effort and schema stand together in output_config', async () => {
      const { body } = await send({
        model: 'claude-opus-5',
        settings: { maxTokens: 100, reasoning: 'high' },
        outputSchema: { type: 'object', properties: {} },
      })
      expect(body).toMatchObject({ output_config: { effort: 'high', format: { type: 'json_schema' } } })
    })

    test('options are merged last, and need the older API version where they hold top_k', async () => {
      const { body, headers } = await send({
        settings: { maxTokens: 100, options: { anthropic: { top_k: 5, metadata: { user_id: 'u' } }, claude: { top_k: 7 } } },
      })
      expect(body).toMatchObject({ top_k: 7, metadata: { user_id: 'u' } })
      expect(headers).toMatchObject({ 'anthropic-version': '2023-06-01' })
      await expect(generate({ settings: { options: { claude: { stream: true } } } })).rejects.toMatchObject({
        code: 'PROVIDER_REJECTED',
      })
    })

    test('a strict request is refused before it is sent, with all that would be left out', async () => {
      const before = server.requests.length
      const settings = { maxTokens: 100, seed: 7, temperature: 0.5, reasoning: { maxTokens: 50 } }
      const files = [filePart('a.mp3', 'audio/mpeg', 'la')]
      await expect(
        generate({ model: 'claude-opus-5', strict: true, settings, messages: [user('hi', { files })] }),
      ).rejects.toMatchObject({
        code: 'PROVIDER_REJECTED',
        message: expect.stringMatching(/reasoning\.maxTokens.*seed.*file "a\.mp3".*temperature/s),
      })
      expect(server.requests.length).toBe(before)
    })

    test('a seed is left out with a note', async () => {
      const { notes } = await send({ settings: { maxTokens: 100, seed: 7 } })
      expect(notes).toEqual(['seed was left out: Anthropic has none'])
    })
  })

  describe('tools', () => {
    test('tools are sent with their schemas', async () => {
      const { body, notes } = await send({ tools: [weather, { name: 'now', parameters: {} }] })
      expect(body).toMatchObject({
        tools: [
          {
            name: 'weather',
            description: 'The weather of a city',
            input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
          },
          { name: 'now', input_schema: { type: 'object' } },
        ],
      })
      expect(JSON.stringify(body)).not.toContain('$schema')
      expect(body).not.toHaveProperty('tool_choice')
      expect(notes).toEqual([])
    })

    test.each([
      ['required', undefined, { type: 'any' }],
      ['none', undefined, { type: 'none' }],
      [{ name: 'weather' }, undefined, { type: 'tool', name: 'weather' }],
      ['auto', false, { type: 'auto', disable_parallel_tool_use: true }],
      [undefined, false, { type: 'auto', disable_parallel_tool_use: true }],
      ['required', false, { type: 'any', disable_parallel_tool_use: true }],
      ['none', false, { type: 'none' }],
    ] as const)('toolChoice %j with parallelToolCalls %s', async (toolChoice, parallelToolCalls, expected) => {
      const { body } = await send({ tools: [weather], toolChoice, settings: { maxTokens: 100, parallelToolCalls } })
      expect(body).toMatchObject({ tool_choice: expected })
    })

    test('a model that may reason is made to call a tool without reasoning, with a note', async () => {
      const settings = { maxTokens: 5_000, reasoning: 'high' } as const
      const adaptive = await send({ model: 'claude-opus-4-6', tools: [weather], toolChoice: 'required', settings })
      expect(adaptive.body).toMatchObject({ tool_choice: { type: 'any' } })
      expect(adaptive.body).not.toHaveProperty('thinking')
      expect(adaptive.notes).toEqual([expect.stringContaining('reasoning was left out')])
      const byDefault = await send({ model: 'claude-opus-5', tools: [weather], toolChoice: { name: 'weather' } })
      expect(byDefault.body).toMatchObject({ tool_choice: { type: 'tool' }, thinking: { type: 'disabled' } })
      expect(byDefault.notes).toEqual([expect.stringContaining('reasoning was turned off')])
    })

    test('a model that always reasons decides itself, with a note', async () => {
      const { body, notes } = await send({ model: 'claude-opus-5-5', tools: [weather], toolChoice: 'required' })
      expect(body).not.toHaveProperty('tool_choice')
      expect(notes).toEqual([expect.stringContaining('toolChoice was left out')])
    })

    test('hosted tools that bill calls get the bound on them', async () => {
      const { body } = await send({ hostedTools: ['web_search', 'code_execution'], maxHostedCalls: 5 })
      expect(body).toMatchObject({
        tools: [
          { type: 'web_search_20250305', name: 'web_search', max_uses: 5 },
          expect.not.objectContaining({ max_uses: expect.anything() }),
        ],
      })
    })

    test('hosted tools are sent in their versions, beside own tools', async () => {
      const { body } = await send({ hostedTools: ['web_search', 'web_fetch', 'code_execution'], tools: [weather] })
      expect(body).toMatchObject({
        tools: [
          { type: 'web_search_20250305', name: 'web_search' },
          { type: 'web_fetch_20250910', name: 'web_fetch', citations: { enabled: true } },
          { type: 'code_execution_20250825', name: 'code_execution' },
          { name: 'weather' },
        ],
      })
    })

    test('an unknown hosted tool is refused with the known ones', async () => {
      await expect(generate({ hostedTools: ['image_generation'] })).rejects.toMatchObject({
        code: 'PROVIDER_REJECTED',
        message: expect.stringContaining('hosted/web_search, hosted/web_fetch, hosted/code_execution'),
      })
    })

    const turn: readonly ModelMessage[] = [
      user('weather?'),
      {
        role: 'assistant',
        content: 'Looking.',
        toolCalls: [
          { id: 'call|1', name: 'weather', arguments: '{"city":"Oslo"}' },
          { name: 'weather', arguments: '{"city":' },
        ],
      },
      { role: 'tool', toolCallId: 'call|1', toolName: 'weather', content: 'snow' },
      { role: 'tool', toolCallId: 'call_2', toolName: 'weather', content: 'bad arguments', isError: true },
    ]

    test('the results of one turn become one user message, in order and with matching ids', async () => {
      const { body } = await send({ tools: [weather], messages: [...turn, user('and now?')] })
      expect(body).toMatchObject({
        messages: [
          { role: 'user', content: 'weather?' },
          {
            role: 'assistant',
            content: [
              { type: 'text', text: 'Looking.' },
              { type: 'tool_use', id: 'call_1', name: 'weather', input: { city: 'Oslo' } },
              { type: 'tool_use', id: 'call_2', name: 'weather', input: { INVALID_JSON: '{"city":' } },
            ],
          },
          {
            role: 'user',
            content: [
              { type: 'tool_result', tool_use_id: 'call_1', content: 'snow' },
              { type: 'tool_result', tool_use_id: 'call_2', content: 'bad arguments', is_error: true },
              { type: 'text', text: 'and now?' },
            ],
          },
        ],
      })
    })

    test('after a turn of another provider, models with budgets do not reason, as the API requires', async () => {
      const settings = { maxTokens: 5_000, reasoning: 'low' } as const
      const budget = await send({ model: 'claude-sonnet-4-5', tools: [weather], messages: turn, settings })
      expect(budget.body).not.toHaveProperty('thinking')
      expect(budget.notes).toEqual([expect.stringContaining('holds no reasoning')])
      const adaptive = await send({ model: 'claude-opus-5', tools: [weather], messages: turn, settings })
      expect(adaptive.body).toMatchObject({ thinking: { type: 'adaptive' } })
    })

    const BLOCKS = [
      { type: 'thinking', thinking: 'Hm.', signature: 'c2ln' },
      { type: 'redacted_thinking', data: 'xxx' },
      { type: 'text', text: '' },
      { type: 'tool_use', id: 't1', name: 'weather', input: { city: 'Oslo' }, caller: { type: 'direct' } },
    ]
    const ownTurn = (provider: string, model: string): readonly ModelMessage[] => [
      user('weather?'),
      {
        role: 'assistant',
        content: '',
        toolCalls: [{ id: 't1', name: 'weather', arguments: '{"city":"Oslo"}' }],
        vendorTurn: { provider, model, blocks: BLOCKS },
      },
      { role: 'tool', toolCallId: 't1', toolName: 'weather', content: 'snow' },
    ]

    test('a turn of this provider and model is sent back unchanged, without empty texts, which the API rejects', async () => {
      const { body } = await send({
        model: 'claude-sonnet-4-5',
        tools: [weather],
        messages: ownTurn('claude', 'claude-sonnet-4-5'),
        settings: { maxTokens: 5_000, reasoning: 'low' },
      })
      expect(body).toMatchObject({
        thinking: { type: 'enabled' },
        messages: [{}, { role: 'assistant', content: [BLOCKS[0], BLOCKS[1], BLOCKS[3]] }, {}],
      })
    })

    test.each([
      ['other', 'claude-sonnet-4-5'],
      ['claude', 'claude-sonnet-4-6'],
    ])('a turn of %s/%s is built anew, without its reasoning', async (id, model) => {
      const { body } = await send({ model: 'claude-sonnet-4-5', tools: [weather], messages: ownTurn(id, model) })
      expect(body).toMatchObject({
        messages: [{}, { content: [{ type: 'tool_use', id: 't1', name: 'weather', input: { city: 'Oslo' } }] }, {}],
      })
      expect(JSON.stringify(body)).not.toMatch(/thinking|c2ln|caller/)
    })
  })

  describe('files', () => {
    const png = filePart('chart.png', 'image/png', 'PNG bytes')
    const pdf = filePart('invoice.pdf', 'application/pdf', '%PDF-1.7')
    const csv = filePart('rows.csv', 'text/csv', 'a;ü')

    test('images, PDFs and texts come before the question', async () => {
      const { body, notes } = await send({ messages: [user('What is this?', { files: [png, pdf, csv] })] })
      expect(body).toMatchObject({
        messages: [
          {
            role: 'user',
            content: [
              { type: 'image', source: { type: 'base64', media_type: 'image/png', data: btoa('PNG bytes') } },
              {
                type: 'document',
                title: 'invoice.pdf',
                source: { type: 'base64', media_type: 'application/pdf', data: btoa('%PDF-1.7') },
              },
              { type: 'document', title: 'rows.csv', source: { type: 'text', media_type: 'text/plain', data: 'a;ü' } },
              { type: 'text', text: 'What is this?' },
            ],
          },
        ],
      })
      expect(notes).toEqual([])
    })

    test('files of tool results are inside the result', async () => {
      const { body } = await send({
        tools: [weather],
        messages: [
          user('map?'),
          { role: 'assistant', content: '', toolCalls: [{ id: 't1', name: 'weather', arguments: '{}' }] },
          { role: 'tool', toolCallId: 't1', toolName: 'weather', content: 'see', files: [png] },
        ],
      })
      expect(body).toMatchObject({
        messages: [{}, {}, { content: [{ type: 'tool_result', content: [{ type: 'text', text: 'see' }, { type: 'image' }] }] }],
      })
    })

    test('a file that the vendor holds is named by its id, unread, with the header of the beta', async () => {
      const held = filePart('held.pdf', 'application/pdf', '', {
        vendorFileId: 'file_1',
        read: () => Promise.reject(new Error('must not be read')),
      })
      const { body, headers } = await send({ messages: [user('hi', { files: [held] })] })
      expect(body).toMatchObject({
        messages: [{ content: [{ type: 'document', title: 'held.pdf', source: { type: 'file', file_id: 'file_1' } }, {}] }],
      })
      expect(headers).toMatchObject({ 'anthropic-beta': 'files-api-2025-04-14' })
    })

    test('the beta of the account is kept beside it', async () => {
      provider = await createAnthropicProvider({
        ...{ id: 'claude', vendor: 'anthropic', baseUrl: server.url, simulated: false },
        headers: { 'Anthropic-Beta': 'fast-mode-2026-02-01' },
      })
      const held = filePart('held.pdf', 'application/pdf', '', { vendorFileId: 'file_1' })
      const { headers } = await send({ messages: [user('hi', { files: [held] })] })
      expect(headers).toMatchObject({ 'anthropic-beta': 'fast-mode-2026-02-01,files-api-2025-04-14' })
      expect((await send({})).headers).toMatchObject({ 'anthropic-beta': 'fast-mode-2026-02-01' })
    })

    test.each([
      ['claude-sonnet-4-6', filePart('a.mp3', 'audio/mpeg', 'la')],
      ['claude-sonnet-4-6', filePart('a.tiff', 'image/tiff', 'la')],
      ['claude-3-haiku-20240307', pdf],
      ['claude-2.1', png],
    ])('%s gets a file that it does not read left out, unread and with a note', async (model, file) => {
      const unread = { ...file, read: () => Promise.reject(new Error('must not be read')) }
      const { body, notes } = await send({ model, messages: [user('hi', { files: [unread] })] })
      expect(body).toMatchObject({ messages: [{ role: 'user', content: 'hi' }] })
      expect(notes).toEqual([expect.stringContaining(`file "${file.name}" was left out`)])
    })

    test('files over the limits of the API are refused before they are read', async () => {
      const before = server.requests.length
      const huge = (name: string, mediaType: string, byteLength: number) =>
        filePart(name, mediaType, '', { byteLength, read: () => Promise.reject(new Error('must not be read')) })
      await expect(
        generate({ messages: [user('hi', { files: [huge('photo.png', 'image/png', 4_000_000)] })] }),
      ).rejects.toMatchObject({ code: 'PROVIDER_REJECTED', message: expect.stringContaining('image "photo.png"') })
      await expect(
        generate({ messages: [user('hi', { files: [huge('book.pdf', 'application/pdf', 30_000_000)] })] }),
      ).rejects.toMatchObject({ code: 'PROVIDER_REJECTED', message: expect.stringContaining('at most 32 MB, found 38.2 MB') })
      expect(server.requests.length).toBe(before)
    })

    test('a file that is gone rejects with its own error, and nothing is sent', async () => {
      const before = server.requests.length
      const gone = new Error('FILE_NOT_FOUND')
      const file = filePart('gone.png', 'image/png', 'x', { read: () => Promise.reject(gone) })
      await expect(generate({ messages: [user('hi', { files: [file] })] })).rejects.toBe(gone)
      expect(server.requests.length).toBe(before)
    })

    test('an abort while a file is read rejects at once, and nothing is sent', async () => {
      const before = server.requests.length
      const controller = new AbortController()
      const file = filePart('slow.png', 'image/png', 'x', { read: () => new Promise(() => undefined) })
      const pending = provider.generate(
        { model: 'claude-sonnet-4-6', messages: [{ role: 'user', content: 'hi', files: [file] }], settings: {} },
        { signal: controller.signal },
      )
      controller.abort(new Error('enough'))
      await expect(pending).rejects.toThrow('enough')
      expect(server.requests.length).toBe(before)
    })
  })

  describe('prompt caching', () => {
    const LONG = 'Be kind. '.repeat(1_000)
    const mark = { type: 'ephemeral' }

    test('long instructions are marked, which covers the tools before them', async () => {
      const { body } = await send({ system: LONG, tools: [weather] })
      expect(body).toMatchObject({ system: [{ type: 'text', text: LONG, cache_control: mark }] })
      expect(JSON.stringify(body).match(/cache_control/g)).toHaveLength(1)
    })

    test('long tools without instructions are marked at the last one', async () => {
      const { body } = await send({
        tools: [
          { ...weather, description: LONG },
          { ...weather, name: 'other' },
        ],
      })
      expect(body).toMatchObject({ tools: [{ name: 'weather' }, { name: 'other', cache_control: mark }] })
    })

    test('the stable beginning of a prompt becomes a marked block of its own', async () => {
      const content = `${LONG}👍 And now criticise it.`
      const { body } = await send({ messages: [user(content, { stableLength: LONG.length + 1 })] })
      expect(body).toMatchObject({
        messages: [
          {
            content: [
              { type: 'text', text: LONG, cache_control: mark },
              { type: 'text', text: '👍 And now criticise it.' },
            ],
          },
        ],
      })
    })

    test('each of several stable beginnings becomes a marked block, from the minimum of the model on', async () => {
      const content = `Task. ${LONG}Draft. ${LONG}Criticise it.`
      const ends = [6, 6 + LONG.length, 13 + 2 * LONG.length]
      const { body } = await send({ messages: [user(content, { stableLength: ends })] })
      expect(body).toMatchObject({
        messages: [
          {
            content: [
              { type: 'text', text: `Task. ${LONG}`, cache_control: mark },
              { type: 'text', text: `Draft. ${LONG}`, cache_control: mark },
              { type: 'text', text: 'Criticise it.' },
            ],
          },
        ],
      })
    })

    test('a prompt that is stable to its end is one marked block', async () => {
      const { body } = await send({ messages: [user(LONG, { stableLength: LONG.length })] })
      expect(body).toMatchObject({ messages: [{ content: [{ type: 'text', text: LONG, cache_control: mark }] }] })
    })

    test('no block is white space only, which the API rejects', async () => {
      for (const [stableLength, texts] of [
        [
          [2, LONG.length + 2, LONG.length + 3],
          [`\n\n${LONG}`, '\n\nCriticise it.'],
        ],
        [
          [LONG.length + 2, LONG.length + 4],
          [`\n\n${LONG}`, '\n\nCriticise it.'],
        ],
      ] as const) {
        const { body } = await send({ messages: [user(texts.join(''), { stableLength })] })
        expect(body).toMatchObject({ messages: [{ content: texts.map((text) => ({ text })) }] })
      }
      const content = `${LONG}\n`
      const { body } = await send({ messages: [user(content, { stableLength: LONG.length })] })
      expect(body).toMatchObject({ messages: [{ content: [{ type: 'text', text: content, cache_control: mark }] }] })
    })

    test('the last result of a turn is marked', async () => {
      const { body } = await send({
        tools: [weather],
        messages: [
          user('weather?'),
          { role: 'assistant', content: '', toolCalls: [{ id: 't1', name: 'weather', arguments: '{}' }] },
          { role: 'tool', toolCallId: 't1', toolName: 'weather', content: LONG },
          { role: 'tool', toolCallId: 't2', toolName: 'weather', content: 'snow' },
        ],
      })
      expect(body).toMatchObject({ messages: [{}, {}, { content: [{}, { content: 'snow', cache_control: mark }] }] })
    })

    test('a prompt below the minimum of the model is sent plainly', async () => {
      for (const [model, text] of [
        ['claude-sonnet-4-6', 'Be kind.'],
        ['claude-haiku-4-5', LONG],
        ['deepseek-chat', LONG],
      ] as const) {
        const { body } = await send({ model, system: text, messages: [user(text, { stableLength: 5 })] })
        expect(body).toMatchObject({ system: text, messages: [{ content: text }] })
      }
    })

    test('a lifetime of one hour is asked for, also for a short prompt', async () => {
      const settings = { maxTokens: 100, cache: { ttl: '1h' } } as const
      const { body } = await send({ system: 'Be kind.', settings })
      expect(body).toMatchObject({ system: [{ cache_control: { type: 'ephemeral', ttl: '1h' } }] })
    })

    test('nothing is marked where caching is off', async () => {
      const settings = { maxTokens: 100, cache: 'off' } as const
      const { body } = await send({ system: LONG, messages: [user(LONG, { stableLength: 900 })], settings })
      expect(body).toMatchObject({ system: LONG, messages: [{ content: LONG }] })
    })

    test('a request has at most four marks, of which the first and the last places are kept', async () => {
      const messages = [1, 2, 3, 4, 5].flatMap((turn): ModelMessage[] => [
        user(`${LONG}${turn}`, { stableLength: LONG.length }),
        { role: 'assistant', content: 'ok' },
      ])
      const { body } = await send({ system: LONG, messages: [...messages, user('end')] })
      expect(JSON.stringify(body).match(/cache_control/g)).toHaveLength(4)
      expect(body).toMatchObject({
        system: [{ cache_control: mark }],
        messages: { 8: { content: [{ cache_control: mark }, {}] } },
      })
      expect(body).not.toMatchObject({ messages: { 0: { content: [{ cache_control: mark }, {}] } } })
    })
  })
})
