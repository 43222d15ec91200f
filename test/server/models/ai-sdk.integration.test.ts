import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText, type LanguageModel, Output, stepCountIs, streamText, tool } from 'ai'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { rejection } from '../../support/caught.ts'
import { calling, toolAnswers } from '../../support/tool-world.ts'
import { runModelServer, TWO_STEPS, USAGE, USER } from './model-server.ts'

const REPLY = z.object({ answer: z.string() })

/** The ways by which programs of the AI SDK reach a server that speaks OpenAI's formats. */
const WAYS = {
  'openai-compatible': (baseURL: string, apiKey: string): LanguageModel =>
    createOpenAICompatible({ name: 'polyphony', baseURL, apiKey, includeUsage: true, supportsStructuredOutputs: true })(
      'flow/asked',
    ),
  'openai chat': (baseURL: string, apiKey: string): LanguageModel => createOpenAI({ baseURL, apiKey }).chat('flow/asked'),
  'openai responses': (baseURL: string, apiKey: string): LanguageModel => createOpenAI({ baseURL, apiKey })('flow/asked'),
}

async function open(way: keyof typeof WAYS, { typed = false } = {}) {
  const server = await runModelServer((_, index) =>
    index % 2 === 0
      ? 'a draft'
      : typed
        ? { text: 'Here: {"answer":"42"}', usage: USAGE }
        : { chunks: ['one ', 'two'], usage: USAGE },
  )
  const steps = TWO_STEPS.steps.map((step, index) =>
    typed && index === 1 ? { ...step, outputSchema: z.toJSONSchema(REPLY, { target: 'draft-7' }) } : step,
  )
  await server.save({ ...TWO_STEPS, name: 'asked', steps })
  return { provider: server.provider, model: WAYS[way](`${server.url}/v1`, await server.keyOf(USER)) }
}

test.each(Object.keys(WAYS) as (keyof typeof WAYS)[])('the AI SDK streams a flow with its usage (%s)', async (way) => {
  const { model } = await open(way)
  const { textStream, usage, finishReason } = streamText({ model, system: 'Be brief.', prompt: 'Why?', maxRetries: 0 })
  const chunks: string[] = []
  for await (const chunk of textStream) chunks.push(chunk)
  expect(chunks).toEqual(['one ', 'two'])
  expect(await finishReason).toBe('stop')
  expect(await usage).toMatchObject({ outputTokens: 5 })
})

test.each(Object.keys(WAYS) as (keyof typeof WAYS)[])('the AI SDK gets the object that a flow answers with (%s)', async (way) => {
  const { model } = await open(way, { typed: true })
  const { output } = await generateText({ model, prompt: 'Why?', output: Output.object({ schema: REPLY }), maxRetries: 0 })
  expect(output).toEqual({ answer: '42' })
})

test.each(Object.keys(WAYS) as (keyof typeof WAYS)[])(
  'objects that a flow cannot serve are refused by name, before anything is paid for (%s)',
  async (way) => {
    const { model, provider } = await open(way)
    const refused = await rejection(
      generateText({ model, prompt: 'Why?', output: Output.object({ schema: REPLY }), maxRetries: 0 }),
    )
    expect([Reflect.get(Object(refused), 'statusCode'), String(refused)]).toEqual([
      400,
      expect.stringMatching(/(response_format|text\.format): expected an outputSchema/),
    ])
    expect(provider.requests).toHaveLength(0)
  },
)

describe.each(Object.keys(WAYS) as (keyof typeof WAYS)[])('tools of the AI SDK (%s)', (way) => {
  const WEATHER = [
    { text: 'a draft', usage: USAGE },
    { ...calling(['weather', { city: 'Rome' }], ['weather', { city: 'Oslo' }]), usage: USAGE },
    { ...calling(['weather', { city: 'Bern' }]), usage: USAGE },
    { text: 'Rome is warm.', usage: USAGE },
  ]

  async function ask() {
    const server = await runModelServer(WEATHER)
    await server.save({ ...TWO_STEPS, name: 'asked' })
    const asked: string[] = []
    const weather = tool({
      description: 'Tells the weather',
      inputSchema: z.object({ city: z.string() }),
      execute: ({ city }) => {
        asked.push(city)
        return { city, degrees: 30 }
      },
    })
    const model = WAYS[way](`${server.url}/v1`, await server.keyOf(USER))
    return { ...server, asked, options: { model, prompt: 'Warm?', tools: { weather }, stopWhen: stepCountIs(5), maxRetries: 0 } }
  }
  const expectOneFlow = ({ provider, asked }: Awaited<ReturnType<typeof ask>>) => {
    expect(asked).toEqual(['Rome', 'Oslo', 'Bern'])
    expect(provider.requests).toHaveLength(4)
    expect(provider.requests.slice(2).map(toolAnswers)).toEqual([
      ['{"city":"Rome","degrees":30}', '{"city":"Oslo","degrees":30}'],
      ['{"city":"Bern","degrees":30}'],
    ])
  }

  test('generateText runs them until the flow answers, and its usage is that of all turns, each once', async () => {
    const asking = await ask()
    const { text, totalUsage, finishReason } = await generateText(asking.options)
    expect({ text, finishReason, totalUsage }).toMatchObject({
      text: 'Rome is warm.',
      finishReason: 'stop',
      totalUsage: { inputTokens: 40, outputTokens: 20 },
    })
    expectOneFlow(asking)
  })

  test('streamText does so, too', async () => {
    const asking = await ask()
    const { text, totalUsage } = streamText(asking.options)
    expect(await text).toBe('Rome is warm.')
    expect(await totalUsage).toMatchObject({ inputTokens: 40, outputTokens: 20 })
    expectOneFlow(asking)
  })
})
