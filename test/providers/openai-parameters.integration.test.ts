import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { providerSettingsSchema } from '../../src/config/provider-settings.ts'
import type { ModelRequest } from '../../src/domain/execution/model-call.ts'
import type { AdapterSettings } from '../../src/providers/adapter-settings.ts'
import { createOpenAiCompatibleProvider } from '../../src/providers/openai-compatible.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { askOf } from '../support/openai-asks.ts'
import { createVendorServer, SSE_HEADERS, sse, type VendorAnswer, type VendorServer } from '../support/vendor-server.ts'

let server: VendorServer
beforeAll(async () => {
  server = await createVendorServer()
})
afterAll(() => server.close())

const createAt = (settings: Partial<AdapterSettings> = {}) =>
  createOpenAiCompatibleProvider({
    id: 'mine',
    vendor: 'mine',
    apiKey: 'key-123',
    baseUrl: `${server.url}/v1`,
    simulated: false,
    ...settings,
  })

const fine: VendorAnswer = { body: { model: 'm', choices: [{ index: 0, message: { content: 'fine' }, finish_reason: 'stop' }] } }
const fineStream: VendorAnswer = {
  headers: SSE_HEADERS,
  body: sse({ choices: [{ index: 0, delta: { content: 'fine' }, finish_reason: 'stop' }] }, '[DONE]'),
}
const refusal = (
  param: string,
  message = `Unsupported parameter: '${param}' is not supported with this model.`,
  status = 400,
): VendorAnswer => ({
  status,
  body: { error: { message, type: 'invalid_request_error', code: 'unsupported_parameter', param } },
})

/** Asks once; says what came and which bodies were sent for it. */
async function ask(provider: Provider, request: Partial<ModelRequest>, answers: readonly VendorAnswer[], streams = false) {
  server.answer(...answers)
  const before = server.requests.length
  const answer = await provider
    .generate(askOf({ model: 'team-reasoner', ...request }), {
      signal: new AbortController().signal,
      ...(streams && { onDelta: () => undefined }),
    })
    .catch((error: unknown) => error)
  return { answer, bodies: server.requests.slice(before).map(({ body }) => body) }
}

describe('a parameter that the server rejects by name', () => {
  test('a parameter is renamed as the server asks, with a note, and remembered for the model', async () => {
    const provider = await createAt()
    const settings = { maxTokens: 50 }
    const refused = refusal(
      'max_tokens',
      "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    )
    const first = await ask(provider, { settings }, [refused, fine])
    expect(first.bodies).toMatchObject([{ max_tokens: 50 }, { max_completion_tokens: 50 }])
    expect(first.bodies[1]).not.toHaveProperty('max_tokens')
    expect(first.answer).toMatchObject({ text: 'fine', notes: [expect.stringContaining('max_completion_tokens')] })
    const second = await ask(provider, { settings }, [fine])
    expect(second.bodies).toMatchObject([{ max_completion_tokens: 50 }])
    expect(second.answer).toMatchObject({ notes: [expect.stringContaining('max_completion_tokens')] })
    expect((await ask(provider, { settings, model: 'another' }, [fine])).bodies).toMatchObject([{ max_tokens: 50 }])
    expect((await ask(await createAt(), { settings }, [fine])).bodies).toMatchObject([{ max_tokens: 50 }])
  })

  test('is adjusted after each of several rejections', async () => {
    const settings = { maxTokens: 50, temperature: 0.2, topP: 0.5 }
    const { answer, bodies } = await ask(await createAt(), { settings }, [
      refusal('temperature'),
      refusal('top_p'),
      refusal('max_tokens'),
      fine,
    ])
    expect(answer).toMatchObject({ text: 'fine' })
    expect(bodies.at(-1)).toEqual({
      model: 'team-reasoner',
      messages: [{ role: 'user', content: 'Hello.' }],
      max_completion_tokens: 50,
    })
  })

  test.each([400, 422])('stream_options are left out after a %i, for all models of the account', async (status) => {
    const provider = await createAt()
    const first = await ask(
      provider,
      {},
      [refusal('stream_options', 'Extra inputs are not permitted: stream_options', status), fineStream],
      true,
    )
    expect(first.answer).toMatchObject({ text: 'fine', usage: { source: 'unknown' } })
    expect(first.bodies).toHaveLength(2)
    const second = await ask(provider, { model: 'another' }, [fineStream], true)
    expect(second.bodies).toEqual([{ model: 'another', messages: [{ role: 'user', content: 'Hello.' }], stream: true }])
  })

  test('is not left out if limits depend on it: the error is returned when both names are rejected', async () => {
    const { answer, bodies } = await ask(await createAt(), { settings: { maxTokens: 50 } }, [
      refusal('max_tokens'),
      refusal('max_completion_tokens'),
      fine,
    ])
    expect(answer).toMatchObject({ code: 'PROVIDER_REJECTED', retryable: false })
    expect(bodies).toHaveLength(2)
  })

  test.each([
    ['a parameter that was not sent', refusal('temperature')],
    ['a parameter that no request can do without', refusal('messages')],
    [
      'a value that is too large',
      { status: 400, body: { error: { message: 'max_tokens is too large: 50.', param: 'max_tokens' } } },
    ],
    ['another failure', refusal('max_tokens', 'no', 500)],
  ])('%s causes no second request', async (_, answer) => {
    expect((await ask(await createAt(), { settings: { maxTokens: 50 } }, [answer, fine])).bodies).toHaveLength(1)
  })

  test('is adjusted for each of two concurrent requests', async () => {
    const provider = await createAt()
    server.answer(refusal('temperature'), refusal('temperature'), fine)
    const request = askOf({ model: 'm', settings: { temperature: 0.2 } })
    const { signal } = new AbortController()
    const answers = await Promise.all([provider.generate(request, { signal }), provider.generate(request, { signal })])
    expect(answers).toMatchObject([{ text: 'fine' }, { text: 'fine' }])
  })

  test('a schema in a format that the server rejects is left out with a note', async () => {
    const outputSchema = { type: 'object', properties: { a: { type: 'string' } }, required: ['a'] }
    const refused = { status: 400, body: { error: "'response_format.type' must be 'json_schema' or 'text'" } }
    const { answer, bodies } = await ask(await createAt({ preset: 'vllm' }), { outputSchema }, [refused, fine])
    expect(bodies[1]).not.toHaveProperty('response_format')
    expect(answer).toMatchObject({ notes: [expect.stringContaining('response_format was left out')] })
  })
})

describe('settings of an account about its server', () => {
  const parameters = {
    maxTokens: 'max_completion_tokens',
    temperature: false,
    models: { old: { maxTokens: 'max_tokens', temperature: 'temperature' } },
  } as const

  test.each(['chat', 'responses'] as const)('fields are renamed and left out as configured (%s)', async (api) => {
    const provider = await createAt({ parameters, api })
    const settings = { maxTokens: 50, temperature: 0.2 }
    const answer =
      api === 'chat'
        ? fine
        : {
            body: {
              status: 'completed',
              model: 'm',
              output: [{ type: 'message', content: [{ type: 'output_text', text: 'fine' }] }],
            },
          }
    const first = await ask(provider, { settings }, [answer])
    expect(first.bodies[0]).toMatchObject({ max_completion_tokens: 50 })
    expect(first.bodies[0]).not.toHaveProperty('temperature')
    expect(first.answer).toMatchObject({ notes: ['temperature was left out: team-reasoner does not accept it'] })
    expect((await ask(provider, { settings, model: 'old' }, [answer])).bodies[0]).toMatchObject({
      max_tokens: 50,
      temperature: 0.2,
    })
  })

  test('they win over what is known of a model by its name', async () => {
    const provider = await createAt({ parameters: { temperature: 'temperature' } })
    expect((await ask(provider, { model: 'o3', settings: { temperature: 1 } }, [fine])).bodies[0]).toMatchObject({
      temperature: 1,
    })
  })

  test('streamUsage false requests no usage, and true requests it against the preset', async () => {
    expect((await ask(await createAt({ streamUsage: false }), {}, [fineStream], true)).bodies[0]).not.toHaveProperty(
      'stream_options',
    )
    expect(
      (await ask(await createAt({ preset: 'mistral', streamUsage: true }), {}, [fineStream], true)).bodies[0],
    ).toHaveProperty('stream_options')
  })

  test('unknown names and other values are rejected at configuration', () => {
    expect(providerSettingsSchema.safeParse({ parameters }).success).toBe(true)
    for (const wrong of [{ maxToken: 'x' }, { temperature: true }, { maxTokens: '' }, { models: { a: 'x' } }]) {
      expect(providerSettingsSchema.safeParse({ parameters: wrong }).success).toBe(false)
    }
  })
})

describe('a schema of another type than object', () => {
  const outputSchema = { type: 'array', items: { type: 'string' } }
  test.each(['ollama', 'lmstudio', 'vllm', 'groq', 'xai', 'mistral', 'deepseek', 'openrouter', 'together', 'azure'] as const)(
    'is never sent to %s as json_object, which only allows objects',
    async (preset) => {
      for (const model of ['m', 'gpt-oss']) {
        const messages = [{ role: 'user', content: 'A JSON list.' }] as const
        const { answer, bodies } = await ask(await createAt({ preset }), { model, outputSchema, messages }, [fine])
        expect(bodies[0]).not.toHaveProperty('response_format')
        expect(answer).toMatchObject({ notes: [expect.stringContaining('outputSchema was left out')] })
      }
    },
  )
})
