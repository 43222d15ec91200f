import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { providerSettingsSchema } from '../../src/config/provider-settings.ts'
import { stepSettingsSchema } from '../../src/domain/definition/flow-definition.ts'
import type { ModelMessage, ModelRequest, ModelSettings } from '../../src/domain/execution/model-call.ts'
import type { AdapterSettings } from '../../src/providers/adapter-settings.ts'
import { createOpenAiProvider } from '../../src/providers/openai/openai.ts'
import { createOpenAiCompatibleProvider } from '../../src/providers/openai-compatible.ts'
import type { PresetName } from '../../src/providers/presets.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { recordOf } from '../../src/providers/vendor/foreign-json.ts'
import { rejection } from '../support/caught.ts'
import { chatWire, responsesWire } from '../support/openai-wires.ts'
import { createVendorServer, type VendorAnswer, type VendorServer } from '../support/vendor-server.ts'

let server: VendorServer
beforeAll(async () => {
  server = await createVendorServer()
})
afterAll(() => server.close())

const chatAt = (settings: Partial<AdapterSettings> = {}) =>
  createOpenAiProvider({ id: 'desk', vendor: 'openai', apiKey: 'k', baseUrl: `${server.url}/v1`, simulated: false, ...settings })
const responsesAt = (settings: Partial<AdapterSettings> = {}) => chatAt({ api: 'responses', ...settings })
const presetAt = (preset: PresetName, settings: Partial<AdapterSettings> = {}) =>
  createOpenAiCompatibleProvider({
    id: 'desk',
    vendor: preset,
    preset,
    apiKey: 'k',
    baseUrl: `${server.url}/v1`,
    simulated: false,
    ...settings,
  })

/** Sends one request, and returns the body that the server received and the notes. */
async function send(
  provider: Provider,
  request: Partial<ModelRequest>,
  answer: VendorAnswer = chatWire.whole('fine'),
  streams = false,
) {
  server.answer(answer)
  const { notes } = await provider.generate(
    { model: 'gpt-5.4', messages: [{ role: 'user', content: 'Hello.' }], settings: {}, ...request },
    { signal: new AbortController().signal, ...(streams && { onDelta: () => undefined }) },
  )
  return { body: recordOf(server.requests.at(-1)?.body), notes }
}
const sendResponses = async (request: Partial<ModelRequest>, streams = false) =>
  send(await responsesAt(), request, streams ? responsesWire.streamed(['fine']) : responsesWire.whole('fine'), streams)

const TOOLS = [{ name: 'clock', parameters: { type: 'object', properties: {} } }]

/** One value for every setting of a step. A setting without one fails the first test. */
const SETTINGS: Required<ModelSettings> = {
  temperature: 0.5,
  maxTokens: 100,
  topP: 0.9,
  stopSequences: ['END'],
  reasoning: 'high',
  seed: 7,
  parallelToolCalls: false,
  cache: { ttl: '1h' },
  options: { openai: { service_tier: 'flex' } },
}

/** Words of a body by which a setting shows, where they are not its own name in snake case. */
const SENT_AS: Readonly<Record<string, RegExp>> = {
  maxTokens: /"max_(completion_|output_)?tokens":100/,
  stopSequences: /"stop":\["END"\]/,
  reasoning: /"(reasoning_effort|effort)":"high"/,
  seed: /seed":7/,
  cache: /"prompt_cache_retention":"24h"/,
  options: /"service_tier":"flex"/,
  temperature: /"temperature":0.5/,
  topP: /"top_p":0.9/,
  parallelToolCalls: /"parallel_tool_calls":false/,
}

describe('no setting is lost on its way', () => {
  test('the settings of this test are those of steps', () => {
    expect(Object.keys(SETTINGS).sort()).toEqual(Object.keys(stepSettingsSchema.shape).sort())
    expect(stepSettingsSchema.safeParse(SETTINGS).success).toBe(true)
  })

  const models = ['gpt-4o', 'gpt-5.4', 'o3', 'gpt-5-chat-latest', 'some-model', 'grok-4', 'anthropic/claude-sonnet-4-6']
  const accounts: readonly (readonly [
    name: string,
    create: () => Promise<Provider>,
    answer: VendorAnswer,
    stream: VendorAnswer,
  ])[] = [
    ['OpenAI Chat Completions', chatAt, chatWire.whole('fine'), chatWire.streamed(['fine'])],
    ['OpenAI Responses', responsesAt, responsesWire.whole('fine'), responsesWire.streamed(['fine'])],
    ...(
      ['ollama', 'vllm', 'groq', 'xai', 'mistral', 'deepseek', 'openrouter', 'azure', 'bedrock', 'vertex', 'litellm'] as const
    ).map((preset) => [preset, () => presetAt(preset), chatWire.whole('fine'), chatWire.streamed(['fine'])] as const),
  ]

  test.each(accounts)('every setting is in the bytes or in a note: %s', async (_, create, whole, stream) => {
    const provider = await create()
    for (const [index, model] of models.entries()) {
      const streams = index % 2 === 1
      const options = { [provider.kind]: { service_tier: 'flex' } }
      const request = { model, settings: { ...SETTINGS, options }, tools: TOOLS, cacheKey: 'stable' }
      const { body, notes } = await send(provider, request, streams ? stream : whole, streams)
      const bytes = JSON.stringify(body)
      for (const setting of Object.keys(SETTINGS)) {
        const isSent = SENT_AS[setting]?.test(bytes) ?? false
        const isNoted = notes.some((note) => note.startsWith(setting))
        expect(isSent || isNoted, `${setting} for ${model}: ${bytes} ${notes.join('; ')}`).toBe(true)
      }
    }
  })

  test('a strict request is refused where one of them would be left out, without a request', async () => {
    const before = server.requests.length
    for (const provider of [await chatAt(), await responsesAt()]) {
      const request = {
        model: 'gpt-5.4',
        messages: [{ role: 'user', content: 'Hello.' }],
        settings: SETTINGS,
        strict: true,
      } as const
      expect(await rejection(provider.generate(request, { signal: new AbortController().signal }))).toMatchObject({
        code: 'PROVIDER_REJECTED',
        message: expect.stringMatching(/temperature.*topP.*stopSequences/),
        details: { model: 'gpt-5.4' },
      })
    }
    expect(server.requests.length).toBe(before)
  })

  test('a strict request is not repeated without a field that the server rejects, and is refused at once the next time', async () => {
    const provider = await chatAt()
    const refusal: VendorAnswer = {
      status: 400,
      body: {
        error: { message: "Unknown parameter: 'seed'.", type: 'invalid_request_error', code: 'unknown_parameter', param: 'seed' },
      },
    }
    const ask = (strict: boolean, ...answers: readonly VendorAnswer[]) => {
      server.answer(...answers)
      const request = { model: 'gpt-4o', messages: [{ role: 'user', content: 'Hello.' }], settings: { seed: 7 }, strict } as const
      return provider.generate(request, { signal: new AbortController().signal })
    }
    const before = server.requests.length
    expect(await rejection(ask(true, refusal))).toMatchObject({ code: 'PROVIDER_REJECTED', details: { status: 400 } })
    expect(server.requests.length).toBe(before + 1)
    expect((await ask(false, refusal, chatWire.whole('fine'))).notes).toEqual([expect.stringContaining('seed was left out')])
    expect(server.requests.length).toBe(before + 3)
    expect(await rejection(ask(true, chatWire.whole('fine')))).toMatchObject({
      code: 'PROVIDER_REJECTED',
      message: expect.stringContaining('seed'),
    })
    expect(server.requests.length).toBe(before + 3)
  })
})

describe('reasoning', () => {
  test.each<[model: string, wanted: NonNullable<ModelSettings['reasoning']>, sent: string | undefined]>([
    ['gpt-5.4', 'none', 'none'],
    ['gpt-5.4', 'minimal', 'low'],
    ['gpt-5.4', 'max', 'xhigh'],
    ['gpt-6-sol', 'max', 'max'],
    ['gpt-5-mini', 'none', 'minimal'],
    ['gpt-5-mini', 'max', 'high'],
    ['gpt-5-pro', 'low', 'high'],
    ['o3', 'minimal', 'low'],
    ['openai/gpt-oss-120b', 'max', 'high'],
    ['o3', { maxTokens: 500 }, 'low'],
    ['gpt-5.4', { maxTokens: 20_000 }, 'high'],
    ['gpt-4o', 'high', undefined],
    ['my-deployment', 'medium', 'medium'],
  ])('%s takes the effort %j as %s', async (model, reasoning, effort) => {
    const chat = await send(await chatAt(), { model, settings: { reasoning } })
    expect(chat.body.reasoning_effort).toBe(effort)
    const responses = await sendResponses({ model, settings: { reasoning } })
    expect(recordOf(responses.body.reasoning).effort).toBe(effort)
    const isChanged = reasoning !== effort
    for (const { notes } of [chat, responses]) expect(notes.some((note) => note.startsWith('reasoning'))).toBe(isChanged)
  })

  test.each<[PresetName, string, NonNullable<ModelSettings['reasoning']>, object]>([
    ['openrouter', 'anthropic/claude-sonnet-4-6', 'high', { reasoning: { effort: 'high' } }],
    ['openrouter', 'anthropic/claude-sonnet-4-6', { maxTokens: 3_000 }, { reasoning: { max_tokens: 3_000 } }],
    ['openrouter', 'deepseek/deepseek-v4', 'max', { reasoning: { effort: 'xhigh' } }],
    ['deepseek', 'deepseek-v4', 'none', { thinking: { type: 'disabled' } }],
    ['deepseek', 'deepseek-v4', 'max', { reasoning_effort: 'max' }],
    ['groq', 'openai/gpt-oss-20b', 'max', { reasoning_effort: 'high' }],
    ['groq', 'qwen/qwen3-32b', 'high', { reasoning_effort: 'default' }],
    ['groq', 'qwen/qwen3-32b', 'none', { reasoning_effort: 'none' }],
    ['groq', 'llama-3.3-70b-versatile', 'high', { reasoning_effort: undefined }],
    ['mistral', 'mistral-small-latest', 'low', { reasoning_effort: 'high' }],
    ['mistral', 'magistral-medium-latest', 'low', { reasoning_effort: undefined }],
    ['vllm', 'Qwen/Qwen3-8B', 'none', { chat_template_kwargs: { enable_thinking: false } }],
    ['vllm', 'Qwen/Qwen3-8B', 'max', { reasoning_effort: 'high' }],
    ['ollama', 'qwen3', 'none', { reasoning_effort: 'none' }],
    ['xai', 'grok-3-mini', 'medium', { reasoning_effort: 'low' }],
    ['xai', 'grok-4', 'high', { reasoning_effort: undefined }],
    ['azure', 'team-reasoner', 'high', { reasoning_effort: 'high' }],
    ['bedrock', 'openai.gpt-oss-20b-1:0', 'max', { reasoning_effort: 'high' }],
    [
      'vertex',
      'google/gemini-2.5-pro',
      { maxTokens: 900 },
      { extra_body: { google: { thinking_config: { thinking_budget: 900 } } } },
    ],
    ['vertex', 'google/gemini-3-pro', { maxTokens: 900 }, { reasoning_effort: 'low' }],
  ])('at %s, %s is asked for %j in its own fields', async (preset, model, reasoning, fields) => {
    const { body } = await send(await presetAt(preset), { model, settings: { reasoning } })
    expect({ reasoning_effort: undefined, ...body }).toMatchObject(fields)
  })

  test('Responses asks for a summary with an effort, and for encrypted reasoning with tools', async () => {
    expect((await sendResponses({ settings: { reasoning: 'low' } })).body).toMatchObject({
      store: false,
      reasoning: { effort: 'low', summary: 'auto' },
    })
    expect((await sendResponses({ settings: { reasoning: 'none' } })).body.reasoning).toEqual({ effort: 'none' })
    expect((await sendResponses({ tools: TOOLS })).body.include).toEqual(['reasoning.encrypted_content'])
    expect((await sendResponses({ tools: TOOLS, model: 'gpt-4o' })).body).not.toHaveProperty('include')
    expect((await sendResponses({})).body).not.toHaveProperty('reasoning')
  })

  test('an effort goes on without the summary that an organisation may not have, with a note', async () => {
    const refusal: VendorAnswer = {
      status: 400,
      body: {
        error: {
          message: 'Your organization must be verified to generate reasoning summaries.',
          type: 'invalid_request_error',
          param: 'reasoning.summary',
          code: 'unsupported_value',
        },
      },
    }
    const provider = await responsesAt()
    server.answer(refusal, responsesWire.whole('fine'))
    const request = {
      model: 'gpt-5.4',
      messages: [{ role: 'user', content: 'Hello.' }],
      settings: { reasoning: 'low' },
      strict: true,
    } as const
    const { notes } = await provider.generate(request, { signal: new AbortController().signal })
    expect(recordOf(server.requests.at(-1)?.body).reasoning).toEqual({ effort: 'low' })
    expect(notes).toEqual([expect.stringContaining('reasoning.summary was left out')])
  })
})

describe('caching of prompts', () => {
  test('the routing key is sent where the service takes one, cut to its length', async () => {
    const request = { cacheKey: 'k'.repeat(80) }
    expect((await send(await chatAt(), request)).body.prompt_cache_key).toBe('k'.repeat(64))
    expect((await sendResponses(request)).body.prompt_cache_key).toBe('k'.repeat(64))
    expect((await send(await presetAt('groq'), request)).body).not.toHaveProperty('prompt_cache_key')
    expect((await send(await chatAt(), { ...request, settings: { cache: 'off' } })).body).not.toHaveProperty('prompt_cache_key')
  })

  test('models of Anthropic at OpenRouter get marks after the instructions and the stable beginning', async () => {
    const messages = [{ role: 'user', content: 'draft|question', stableLength: 6 }] as const
    const request = { model: 'anthropic/claude-sonnet-4-6', system: 'Be brief.', messages }
    const mark = { type: 'ephemeral', ttl: '1h' }
    const { body } = await send(await presetAt('openrouter'), { ...request, settings: { cache: { ttl: '1h' } } })
    expect(body.messages).toEqual([
      { role: 'system', content: [{ type: 'text', text: 'Be brief.', cache_control: mark }] },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'draft|', cache_control: mark },
          { type: 'text', text: 'question' },
        ],
      },
    ])
    expect((await send(await presetAt('openrouter'), { ...request, settings: { cache: 'off' } })).body.messages).toEqual([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'draft|question' },
    ])
  })

  test('of many stable beginnings the last three are marked at OpenRouter', async () => {
    const messages = [
      { role: 'user', content: 'old|question', stableLength: 4 },
      { role: 'assistant', content: 'answer' },
      { role: 'user', content: 'a|b|c|question', stableLength: [2, 4, 6] },
    ] as const
    const { body } = await send(await presetAt('openrouter'), { model: 'anthropic/claude-sonnet-4-6', messages })
    const mark = { type: 'ephemeral' }
    expect(body.messages).toEqual([
      { role: 'user', content: 'old|question' },
      { role: 'assistant', content: 'answer' },
      {
        role: 'user',
        content: [
          ...['a|', 'b|', 'c|'].map((text) => ({ type: 'text', text, cache_control: mark })),
          { type: 'text', text: 'question' },
        ],
      },
    ])
  })

  test('facts about a message that vendors do not know are never sent', async () => {
    const messages = [{ role: 'user', content: 'Hello.', stableLength: 3, files: [] }] as const
    expect((await send(await chatAt(), { messages })).body.messages).toEqual([{ role: 'user', content: 'Hello.' }])
    expect((await sendResponses({ messages })).body.input).toEqual([{ role: 'user', content: 'Hello.' }])
  })
})

describe('the settings of an account', () => {
  test('its options are merged below those of the step', async () => {
    const provider = await chatAt({ options: { service_tier: 'flex', metadata: { team: 'a', kept: 1 } } })
    const { body } = await send(provider, { settings: { options: { desk: { metadata: { team: 'b' } } } } })
    expect(body).toMatchObject({ service_tier: 'flex', metadata: { team: 'b', kept: 1 } })
  })

  test('its field names hold for every setting, and false leaves a setting out', async () => {
    const parameters = {
      reasoning: 'effort_level',
      seed: 'random_state',
      parallelToolCalls: 'parallel',
      cache: 'cache_id',
      temperature: false,
    } as const
    expect(providerSettingsSchema.safeParse({ parameters }).success).toBe(true)
    const { body, notes } = await send(await presetAt('litellm', { parameters }), {
      model: 'mine',
      settings: { ...SETTINGS, options: undefined },
      tools: TOOLS,
      cacheKey: 'stable',
    })
    expect(body).toMatchObject({ effort_level: 'high', random_state: 7, parallel: false, cache_id: 'stable' })
    expect(body).not.toHaveProperty('temperature')
    expect(notes).toContain('temperature was left out: mine does not accept it')
  })
})

describe('hosted tools', () => {
  test('Responses gets the bound on the calls that it bills', async () => {
    const { body } = await sendResponses({ hostedTools: ['web_search'], maxHostedCalls: 5, model: 'gpt-4o' })
    expect(body.max_tool_calls).toBe(5)
  })

  test('Responses runs its own tools, with what is needed to read their results', async () => {
    const hostedTools = ['web_search', 'file_search:vs_1,vs_2', 'code_interpreter', 'image_generation']
    const { body } = await sendResponses({ hostedTools, tools: TOOLS, model: 'gpt-4o', toolChoice: 'required' })
    expect(body).toMatchObject({
      tools: [
        { type: 'function', name: 'clock' },
        { type: 'web_search' },
        { type: 'file_search', vector_store_ids: ['vs_1', 'vs_2'] },
        { type: 'code_interpreter', container: { type: 'auto' } },
        { type: 'image_generation' },
      ],
      tool_choice: 'required',
      include: ['web_search_call.action.sources', 'file_search_call.results', 'code_interpreter_call.outputs'],
    })
  })

  test('Chat Completions searches the web with search models, and OpenRouter with every model', async () => {
    const hostedTools = ['web_search']
    expect((await send(await chatAt(), { hostedTools, model: 'gpt-5-search-api' })).body.web_search_options).toEqual({})
    expect((await send(await presetAt('openrouter'), { hostedTools, model: 'openai/gpt-5.4' })).body.plugins).toEqual([
      { id: 'web' },
    ])
  })

  test.each<[string, () => Promise<Provider>, string, string]>([
    ['a model that does not search', chatAt, 'web_search', 'with a search model'],
    ['a search of files without a store', responsesAt, 'file_search', 'file_search:<id of a vector store>'],
    ['a service without hosted tools', () => presetAt('groq'), 'web_search', 'has none'],
  ])('%s is refused with what there is', async (_, create, tool, advice) => {
    const provider = await create()
    const before = server.requests.length
    expect(await rejection(send(provider, { hostedTools: [tool] }))).toMatchObject({
      code: 'PROVIDER_REJECTED',
      message: expect.stringContaining(advice),
    })
    expect(server.requests.length).toBe(before)
  })
})

describe('messages of earlier turns', () => {
  const history = (id: string): readonly ModelMessage[] => [
    { role: 'user', content: 'Time?' },
    { role: 'assistant', content: '', toolCalls: [{ id, name: 'clock', arguments: '{}' }] },
    { role: 'tool', toolCallId: id, toolName: 'clock', content: 'noon' },
  ]

  test('Mistral gets ids of the only form that it accepts, equal for call and result', async () => {
    const { body } = await send(await presetAt('mistral'), {
      messages: history('call_abcdefghij'),
      tools: TOOLS,
      toolChoice: 'required',
    })
    const [, call, result] = Array.isArray(body.messages) ? body.messages.map(recordOf) : []
    const [sent] = Array.isArray(call?.tool_calls) ? call.tool_calls.map(recordOf) : []
    expect(sent?.id).toMatch(/^[A-Za-z0-9]{9}$/)
    expect(result?.tool_call_id).toBe(sent?.id)
    expect(body.tool_choice).toBe('any')
  })

  test('ids that are too long for Chat Completions are shortened, equally for call and result', async () => {
    const { body } = await send(await chatAt(), { messages: history('x'.repeat(90)) })
    const [, call, result] = Array.isArray(body.messages) ? body.messages.map(recordOf) : []
    expect(String(result?.tool_call_id)).toHaveLength(40)
    expect(JSON.stringify(call)).toContain(String(result?.tool_call_id))
  })

  test('a schema beside tools is left out where the service rejects both', async () => {
    const outputSchema = { type: 'object', properties: { a: { type: 'string' } }, required: ['a'], additionalProperties: false }
    const groq = await send(await presetAt('groq'), { model: 'openai/gpt-oss-20b', outputSchema, tools: TOOLS })
    expect(groq.body).not.toHaveProperty('response_format')
    expect(groq.notes).toEqual([expect.stringContaining('outputSchema was left out')])
    expect((await send(await chatAt(), { outputSchema, tools: TOOLS })).body).toHaveProperty('response_format')
  })

  test('schemas of tools are strict where strict mode can express them, and unchanged elsewhere', async () => {
    const open = { type: 'object', properties: { a: { type: 'string' } } }
    const tools = [...TOOLS, { name: 'open', parameters: open }]
    const closed = { type: 'object', properties: {}, required: [], additionalProperties: false }
    expect((await send(await chatAt(), { tools })).body.tools).toEqual([
      { type: 'function', function: { name: 'clock', parameters: closed, strict: true } },
      { type: 'function', function: { name: 'open', parameters: open } },
    ])
    expect((await sendResponses({ tools })).body.tools).toEqual([
      { type: 'function', name: 'clock', parameters: closed, strict: true },
      { type: 'function', name: 'open', parameters: open, strict: false },
    ])
  })
})
