import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { readVerdict, VERDICT_JSON_SCHEMA, verdictInstruction } from '../../src/domain/answers/verdict.ts'
import { callFactsOf } from '../../src/domain/execution/call-facts.ts'
import type { ModelRequest } from '../../src/domain/execution/model-call.ts'
import type { ProviderService } from '../../src/providers/provider.ts'
import { createProviderService } from '../../src/providers/registry.ts'
import { SIMULATED_SCENARIOS, type Simulator, startSimulator } from '../../src/providers/simulator.ts'

let simulator: Simulator
let providers: ProviderService
beforeAll(async () => {
  simulator = await startSimulator()
  providers = createProviderService({
    providers: { openai: {}, anthropic: {}, google: {}, local: { kind: 'openai-compatible', preset: 'ollama' } },
    simulator: async (kind) => simulator.endpoint(kind),
  })
})
afterAll(() => simulator.close())

const IDS = ['openai', 'anthropic', 'google', 'local'] as const
const SKY = SIMULATED_SCENARIOS[0]?.prompt ?? ''

const request = (content: string, more: Partial<ModelRequest> = {}): ModelRequest => ({
  model: 'some-model',
  messages: [{ role: 'user', content }],
  settings: {},
  ...more,
})
/** One per request, as a call has. */
const quiet = () => ({ signal: new AbortController().signal })

describe.each(IDS)('the adapter of %s without a key', (id) => {
  test('gets a plain answer, marked as simulated, with reported usage', async () => {
    const provider = await providers.get(id)
    expect(provider.simulated).toBe(true)
    const response = await provider.generate(request(SKY), quiet())
    expect(response).toMatchObject({ finishReason: 'stop', model: 'some-model', usage: { inputTokens: 12, source: 'reported' } })
    expect(response.text).toContain('mirrors like a giant ceiling')
    expect(response.usage.outputTokens).toBe(Math.ceil(response.text.length / 4))
  })

  test('gets the same answer streamed', async () => {
    const provider = await providers.get(id)
    const chunks: string[] = []
    const streamed = await provider.generate(request(SKY), { ...quiet(), onDelta: (chunk) => chunks.push(chunk) })
    const { text, usage } = await provider.generate(request(SKY), quiet())
    expect(chunks.length).toBeGreaterThan(5)
    expect(chunks.join('')).toBe(text)
    expect(streamed).toMatchObject({ text, usage, finishReason: 'stop' })
  })

  test('gets a verdict for a request that demands one', async () => {
    const provider = await providers.get(id)
    const { text } = await provider.generate(
      request(`Evaluate: "A table has four legs."\n${verdictInstruction()}`, { outputSchema: VERDICT_JSON_SCHEMA }),
      quiet(),
    )
    expect(readVerdict(text)).toMatchObject({ verdict: { approved: false, score: 0.5 } })
  })

  test('gets JSON for a schema', async () => {
    const provider = await providers.get(id)
    const shape = z.object({ city: z.string(), population: z.number().min(1000), size: z.enum(['small', 'large']) })
    const outputSchema = z.toJSONSchema(shape)
    const { text } = await provider.generate(
      request(`Extract. Answer with JSON alone that fits this JSON Schema:\n${JSON.stringify(outputSchema)}`, { outputSchema }),
      quiet(),
    )
    expect(shape.safeParse(JSON.parse(text)).error).toBeUndefined()
  })

  test('gets one rate limit without a wait, and then the review', async () => {
    const provider = await providers.get(id)
    const review = request(`The task was: ${SKY}\nThe draft: It mirrors like a giant ceiling. (${id})`, {
      system: 'You review a draft that someone else wrote for a task.',
    })
    const error: unknown = await provider.generate(review, quiet()).catch((failure: unknown) => failure)
    expect(error).toMatchObject({ code: 'PROVIDER_RATE_LIMITED', retryable: true })
    expect(callFactsOf(error).status).toBe(429)
    expect((await provider.generate(review, quiet())).text).toContain('Rayleigh')
  })

  test('passes its own health check', async () => {
    const provider = await providers.get(id)
    await expect(provider.ping?.(quiet().signal)).resolves.toBeUndefined()
  })

  test('rejects at once when it is aborted between two chunks', async () => {
    const slow = await startSimulator({ chunkDelayMs: 20 })
    try {
      const own = createProviderService({
        providers: { [id]: id === 'local' ? { kind: 'openai-compatible', preset: 'ollama' } : {} },
        simulator: async (kind) => slow.endpoint(kind),
      })
      const provider = await own.get(id)
      const abort = new AbortController()
      const chunks: string[] = []
      const onDelta = (chunk: string) => {
        chunks.push(chunk)
        abort.abort(new Error('enough'))
      }
      await expect(provider.generate(request(SKY), { signal: abort.signal, onDelta })).rejects.toThrow('enough')
      expect(chunks).toHaveLength(1)
    } finally {
      await slow.close()
    }
  })
})

test.each(['openai', 'anthropic', 'google'] as const)('the simulator of %s answers beside a hosted tool', async (id) => {
  const provider = await providers.get(id)
  const answer = await provider.generate(request('How is the weather?', { hostedTools: ['web_search'] }), quiet())
  expect(answer).toMatchObject({ finishReason: 'stop', text: expect.stringContaining('How is the weather?') })
})

describe.each(IDS)('the adapter of %s with tools and without a key', (id) => {
  const shape = z.strictObject({ city: z.string(), days: z.number().int().min(3), unit: z.enum(['c', 'f']) })
  const tools = [
    { name: 'get_weather', parameters: z.toJSONSchema(shape) },
    { name: 'clock', parameters: { type: 'object', properties: {} } },
  ]
  const ask = async (more: Partial<ModelRequest>, streams: boolean) =>
    (await providers.get(id)).generate(request('How is the weather?', { tools, ...more }), {
      ...quiet(),
      ...(streams && { onDelta: () => undefined }),
    })

  test.each([false, true])('calls the first tool once with arguments that fit, then answers (streamed: %s)', async (streams) => {
    const { toolCalls = [], text, finishReason } = await ask({}, streams)
    expect({ text, finishReason, names: toolCalls.map(({ name }) => name) }).toEqual({
      text: '',
      finishReason: 'tool_calls',
      names: ['get_weather'],
    })
    expect(shape.safeParse(JSON.parse(toolCalls[0]?.arguments ?? '')).error).toBeUndefined()
    expect((await ask({}, streams)).toolCalls).toEqual(toolCalls)
    const answer = await ask(
      {
        messages: [
          { role: 'user', content: 'How is the weather?' },
          { role: 'assistant', content: '', toolCalls },
          { role: 'tool', toolCallId: toolCalls[0]?.id ?? '', toolName: 'get_weather', content: 'sun' },
        ],
      },
      streams,
    )
    expect(answer).toMatchObject({ finishReason: 'stop', text: expect.stringContaining('How is the weather?') })
    expect(answer.toolCalls).toBeUndefined()
  })

  test('calls the tool that it must call, and none where it must not', async () => {
    expect((await ask({ toolChoice: { name: 'clock' } }, false)).toolCalls).toMatchObject([{ name: 'clock', arguments: '{}' }])
    expect((await ask({ toolChoice: 'none' }, true)).toolCalls).toBeUndefined()
  })
})
