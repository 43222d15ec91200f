import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { PRESETS } from '../../src/config/provider-settings.ts'
import type { AdapterSettings } from '../../src/providers/adapter-settings.ts'
import { createThinkSplitter } from '../../src/providers/openai/think-tags.ts'
import { createOpenAiCompatibleProvider } from '../../src/providers/openai-compatible.ts'
import { PRESET_TABLE } from '../../src/providers/presets.ts'
import { describeProvider } from '../contracts/provider.ts'
import { answerOf, createOpenAiAt, lastBodyAt, streamOf } from '../support/openai-asks.ts'
import { chatWire } from '../support/openai-wires.ts'
import { createVendorServer, type VendorServer } from '../support/vendor-server.ts'

describeProvider({
  name: 'an OpenAI-compatible service',
  model: 'some-model',
  wire: chatWire,
  create: (url, apiKey) =>
    createOpenAiCompatibleProvider({ id: 'mine', vendor: 'openai-compatible', apiKey, baseUrl: `${url}/v1`, simulated: false }),
})

let server: VendorServer
beforeAll(async () => {
  server = await createVendorServer()
})
afterAll(() => server.close())

const ok = { body: { model: 'm', choices: [{ index: 0, message: { content: 'a' }, finish_reason: 'stop' }] } }
const createAt = (settings: Partial<AdapterSettings> = {}) =>
  createOpenAiCompatibleProvider({
    id: 'mine',
    vendor: 'mine',
    apiKey: 'key-123',
    baseUrl: `${server.url}/v1`,
    simulated: false,
    ...settings,
  })
const outputSchema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }

describe('presets', () => {
  test.each(PRESETS)('%s has an address, or belongs to services with an address per account', (preset) => {
    const { baseUrl } = PRESET_TABLE[preset]
    if (['azure', 'bedrock', 'vertex'].includes(preset)) expect(baseUrl).toBeUndefined()
    else expect(new URL(baseUrl ?? '').pathname).toMatch(/\/v1$/)
  })

  test('a provider without an address is rejected', async () => {
    await expect(createAt({ baseUrl: undefined, preset: 'azure' })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  test('a server without a key gets none', async () => {
    await answerOf(await createAt({ preset: 'ollama', apiKey: undefined }), server, ok)
    expect(server.requests.at(-1)?.headers).not.toHaveProperty('authorization')
  })

  test.each([
    ['ollama', 'max_tokens'],
    ['groq', 'max_completion_tokens'],
    ['mistral', 'max_tokens'],
    ['openrouter', 'max_tokens'],
  ] as const)('%s takes its output bound as %s', async (preset, field) => {
    await answerOf(await createAt({ preset }), server, ok, { model: 'm', settings: { maxTokens: 7 } })
    expect(lastBodyAt(server)).toMatchObject({ [field]: 7 })
  })

  test.each([
    ['gpt-4o', 'max_tokens'],
    ['o3', 'max_completion_tokens'],
  ])('an unknown service gets the token bound of %s as %s', async (model, field) => {
    await answerOf(await createAt(), server, ok, { model, settings: { maxTokens: 7 } })
    expect(lastBodyAt(server)).toMatchObject({ [field]: 7 })
  })

  test('Mistral gets no request for stream usage, which it rejects', async () => {
    await streamOf(await createAt({ preset: 'mistral' }), server, [
      { choices: [{ index: 0, delta: { content: 'a' }, finish_reason: 'stop' }] },
    ])
    expect(lastBodyAt(server)).not.toHaveProperty('stream_options')
  })

  test('OpenRouter gets a request for its costs', async () => {
    await answerOf(await createAt({ preset: 'openrouter' }), server, ok)
    expect(lastBodyAt(server)).toMatchObject({ usage: { include: true } })
  })

  test('schemas are sent to services that support them, replaced by json_object if the prompt mentions JSON, or left out with a note', async () => {
    const asks = { outputSchema, messages: [{ role: 'user', content: 'Answer as JSON.' }] } as const
    expect((await answerOf(await createAt({ preset: 'ollama' }), server, ok, asks)).notes).toEqual([])
    expect(lastBodyAt(server)).toMatchObject({ response_format: { type: 'json_schema' } })
    expect((await answerOf(await createAt({ preset: 'deepseek' }), server, ok, asks)).notes).toHaveLength(1)
    expect(lastBodyAt(server)).toMatchObject({ response_format: { type: 'json_object' } })
    expect((await answerOf(await createAt({ preset: 'deepseek' }), server, ok, { outputSchema })).notes).toHaveLength(1)
    expect(lastBodyAt(server)).not.toHaveProperty('response_format')
    expect((await answerOf(await createAt(), server, ok, asks)).notes).toHaveLength(1)
    expect(lastBodyAt(server)).not.toHaveProperty('response_format')
  })

  test.each([
    ['', undefined, '/openai/v1/chat/completions'],
    ['/', '2024-10-21', '/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21'],
    ['/openai', '2024-10-21', '/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21'],
    ['/models', '2024-05-01-preview', '/models/chat/completions?api-version=2024-05-01-preview'],
    ['/openai/deployments/x', '2024-10-21', '/openai/deployments/x/chat/completions?api-version=2024-10-21'],
  ])('Azure at "%s" with version %s gets requests at %s with its key in api-key', async (path, apiVersion, asked) => {
    const azure = await createAt({ preset: 'azure', baseUrl: `${server.url}${path}`, apiVersion })
    await answerOf(azure, server, ok, { model: 'my gpt' })
    const { path: seen, headers } = server.requests.at(-1) ?? {}
    expect(seen).toBe(asked)
    expect(headers).toMatchObject({ 'api-key': 'key-123' })
    expect(headers).not.toHaveProperty('authorization')
  })

  test.each(['..', '.', '../..'])(
    'Azure gets no request for the model %s, which would lead to another address',
    async (model) => {
      const azure = await createAt({ preset: 'azure', baseUrl: server.url, apiVersion: '2024-10-21' })
      const before = server.requests.length
      await expect(answerOf(azure, server, ok, { model })).rejects.toMatchObject({ code: 'PROVIDER_REJECTED' })
      expect(server.requests).toHaveLength(before)
    },
  )
})

describe('errors of compatible services', () => {
  test.each([
    ['Mistral', 401, { message: 'Unauthorized', type: 'x', code: '1' }, 'PROVIDER_AUTH', 'Unauthorized'],
    ['xAI', 400, { code: 'some code', error: 'Model not found: grok-x' }, 'PROVIDER_REJECTED', 'Model not found: grok-x'],
    ['FastAPI', 422, { detail: 'field required' }, 'PROVIDER_REJECTED', 'field required'],
    ['a proxy page', 502, '<html>Bad gateway</html>', 'PROVIDER_UNAVAILABLE', 'status 502'],
    ['plain text', 503, 'upstream connect error', 'PROVIDER_UNAVAILABLE', 'upstream connect error'],
  ])('%s: the message of the error is kept', async (_, status, body, code, words) => {
    const error = await answerOf(await createAt(), server, { status, body }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code, message: expect.stringContaining(words) })
    expect(String(error)).not.toContain('<html>')
  })
})

describe('credentials for OpenAI', () => {
  test('organisation, project and custom headers of the environment are not sent to another origin', async () => {
    const variables = {
      OPENAI_ORG_ID: 'org-secret',
      OPENAI_PROJECT_ID: 'proj-secret',
      OPENAI_ADMIN_KEY: 'sk-admin-secret',
      OPENAI_CUSTOM_HEADERS: 'x-gateway: gateway-secret\nauthorization: Bearer other-secret',
    }
    const before = { ...process.env }
    Object.assign(process.env, variables)
    try {
      const own = await createOpenAiAt(server)
      await answerOf(own, server, ok)
    } finally {
      for (const name of Object.keys(variables)) {
        if (before[name] === undefined) delete process.env[name]
        else process.env[name] = before[name]
      }
    }
    const headers = server.requests.at(-1)?.headers
    expect(headers).toMatchObject({ authorization: 'Bearer sk-test' })
    expect(JSON.stringify(headers)).not.toContain('secret')
  })
})

test('the SDK writes nothing to the log, even if the environment enables it', async () => {
  const logged: unknown[] = []
  const methods = ['debug', 'info', 'log', 'warn', 'error'] as const
  const spies = methods.map((method) => vi.spyOn(console, method).mockImplementation((...words) => void logged.push(words)))
  process.env.OPENAI_LOG = 'debug'
  try {
    const provider = await createAt()
    await answerOf(provider, server, ok)
    await answerOf(provider, server, { status: 500, body: 'broken' }).catch(() => undefined)
    await streamOf(provider, server, ['{"broken"']).catch(() => undefined)
  } finally {
    delete process.env.OPENAI_LOG
    for (const spy of spies) spy.mockRestore()
  }
  expect(logged).toEqual([])
})

describe('ping', () => {
  test('ping requests the list of models', async () => {
    server.answer({ body: { object: 'list', data: [] } })
    await (await createAt()).ping?.(new AbortController().signal)
    expect(server.requests.at(-1)).toMatchObject({ method: 'GET', path: '/v1/models' })
  })

  test('rejects for a wrong key, and resolves if there is no list of models', async () => {
    server.answer({ status: 401, body: { error: { message: 'no' } } }, { status: 404, body: {} })
    const provider = await createAt()
    await expect(provider.ping?.(new AbortController().signal)).rejects.toMatchObject({ code: 'PROVIDER_AUTH' })
    await expect(provider.ping?.(new AbortController().signal)).resolves.toBeUndefined()
  })
})

describe('think tags', () => {
  const split = (chunks: readonly string[]) => {
    const splitter = createThinkSplitter()
    const parts = [...chunks.map(splitter.push), splitter.end()]
    return { text: parts.map((part) => part.text).join(''), reasoning: parts.map((part) => part.reasoning).join('') }
  }

  test.each([
    ['<think>hm, <b>so</b></think>\n\nYes.', 'Yes.', 'hm, <b>so</b>'],
    ['\n<think></think>Yes.', 'Yes.', ''],
    ['<think>never ends', '', 'never ends'],
    ['<thinking>is a tag</thinking>of some models', 'of some models', 'is a tag'],
    ['<thinker>is a word</thinker>', '<thinker>is a word</thinker>', ''],
    ['  indented', '  indented', ''],
    ['a < b', 'a < b', ''],
    ['<', '<', ''],
    ['Use <think>tags</think>.', 'Use <think>tags</think>.', ''],
    ['<think>a</think>b<think>c</think>', 'b<think>c</think>', 'a'],
    ['', '', ''],
  ])('%j is split alike as one chunk and in single characters', (answer, text, reasoning) => {
    expect(split([answer])).toEqual({ text, reasoning })
    expect(split([...answer])).toEqual({ text, reasoning })
  })

  test('reasoning of a local model is not part of its text', async () => {
    const provider = await createAt({ preset: 'ollama' })
    const chunks = ['<th', 'ink>hm', '</thi', 'nk>\n', '\nYes', '.']
    const answer = await streamOf(provider, server, [
      ...chunks.map((content) => ({ choices: [{ index: 0, delta: { content }, finish_reason: null }] })),
      { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] },
      '[DONE]',
    ])
    expect(answer).toMatchObject({ text: 'Yes.', streamed: 'Yes.', reasoningText: 'hm' })
    const whole = { body: { choices: [{ index: 0, message: { content: '<think>hm</think>Yes.' }, finish_reason: 'stop' }] } }
    expect(await answerOf(provider, server, whole)).toMatchObject({ text: 'Yes.', reasoningText: 'hm' })
  })
})
