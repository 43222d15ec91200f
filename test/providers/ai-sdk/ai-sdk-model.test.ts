import type { LanguageModelV2, LanguageModelV3, LanguageModelV4, LanguageModelV4CallOptions } from '@ai-sdk/provider'
import { expect, test } from 'vitest'
import { fromAiSdk } from '../../../src/ai-sdk.ts'
import { callFactsOf } from '../../../src/domain/execution/call-facts.ts'
import type { ModelRequest } from '../../../src/domain/execution/model-call.ts'
import { rejection } from '../../support/caught.ts'

type Content = Awaited<ReturnType<LanguageModelV4['doGenerate']>>['content']
type Part = Awaited<ReturnType<LanguageModelV4['doStream']>>['stream'] extends ReadableStream<infer Item> ? Item : never

const USAGE = {
  inputTokens: { total: 100, noCache: 60, cacheRead: 30, cacheWrite: 10 },
  outputTokens: { total: 40, text: 25, reasoning: 15 },
}
const STOP = { unified: 'stop', raw: 'end_turn' } as const

/** A model of specification 4 that answers with what it is given, and keeps what it was asked. */
function createModel(content: Content, parts: readonly Part[] = []) {
  const calls: LanguageModelV4CallOptions[] = []
  const model: LanguageModelV4 = {
    specificationVersion: 'v4',
    provider: 'acme.chat',
    modelId: 'acme-1',
    supportedUrls: {},
    async doGenerate(options) {
      calls.push(options)
      return { content, finishReason: STOP, usage: USAGE, warnings: [{ type: 'unsupported', feature: 'seed' }] }
    },
    async doStream(options) {
      calls.push(options)
      return {
        stream: new ReadableStream({
          start(controller) {
            for (const part of parts) controller.enqueue(part)
            controller.close()
          },
        }),
      }
    },
  }
  return { model, calls }
}

const signal = () => new AbortController().signal
const ask = (more: Partial<ModelRequest> = {}): ModelRequest => ({
  model: 'acme-1',
  messages: [{ role: 'user', content: 'Hello' }],
  settings: {},
  ...more,
})

test('content, usage, warnings and sources become those of an answer', async () => {
  const { model } = createModel([
    { type: 'reasoning', text: 'Let me think. ', providerMetadata: { acme: { signature: 'sig' } } },
    { type: 'text', text: 'The sky ' },
    { type: 'text', text: 'is blue.' },
    { type: 'source', sourceType: 'url', id: '1', url: 'https://sky.example', title: 'Sky' },
    { type: 'file', mediaType: 'image/png', data: { type: 'data', data: 'AQID' } },
    { type: 'tool-call', toolCallId: 'call-1', toolName: 'look', input: '{"at":"sky"}' },
  ])
  const answer = await fromAiSdk(model, { id: 'acme' }).generate(ask(), { signal: signal() })
  expect(answer).toMatchObject({
    text: 'The sky is blue.',
    reasoningText: 'Let me think. ',
    finishReason: 'stop',
    model: 'acme-1',
    sources: [{ kind: 'annotation', url: 'https://sky.example', title: 'Sky' }],
    files: [{ mediaType: 'image/png', data: new Uint8Array([1, 2, 3]) }],
    toolCalls: [{ id: 'call-1', name: 'look', arguments: '{"at":"sky"}' }],
    notes: ['unsupported "seed"'],
  })
  expect(answer.usage).toEqual({
    inputTokens: 100,
    cachedInputTokens: 30,
    cacheWriteTokens: 10,
    outputTokens: 40,
    reasoningTokens: 15,
    totalTokens: 140,
    source: 'reported',
  })
  // Signed reasoning goes back unchanged with the results of the tools.
  expect(answer.vendorTurn).toEqual({
    provider: 'acme',
    model: 'acme-1',
    blocks: [
      { type: 'reasoning', text: 'Let me think. ', providerOptions: { acme: { signature: 'sig' } } },
      { type: 'text', text: 'The sky ' },
      { type: 'text', text: 'is blue.' },
      { type: 'tool-call', toolCallId: 'call-1', toolName: 'look', input: { at: 'sky' } },
    ],
  })
})

test('a request arrives with its settings, tools, files, results of tools and schema', async () => {
  const { model, calls } = createModel([{ type: 'text', text: '{}' }])
  const blocks = [
    { type: 'tool-call', toolCallId: 'c', toolName: 'look', input: {}, providerOptions: { acme: { signature: 's' } } },
  ]
  const turn = { role: 'assistant', content: 'I look.', toolCalls: [{ id: 'c', name: 'look', arguments: '{}' }] } as const
  const file = { name: 'a.png', mediaType: 'image/png', byteLength: 1, read: async () => new Uint8Array([7]) }
  await fromAiSdk(model, { id: 'acme' }).generate(
    ask({
      system: 'Be brief',
      messages: [
        { role: 'user', content: 'Hello', files: [file] },
        turn,
        { role: 'tool', toolCallId: 'c', toolName: 'look', content: 'nothing there', isError: true },
        { ...turn, vendorTurn: { provider: 'acme', model: 'acme-1', blocks } },
        { ...turn, vendorTurn: { provider: 'other', model: 'acme-1', blocks } },
        { role: 'user', content: 'And now?' },
      ],
      settings: {
        temperature: 0.5,
        maxTokens: 9,
        topP: 0.9,
        seed: 3,
        reasoning: 'high',
        options: { acme: { acme: { fast: true } } },
      },
      outputSchema: { type: 'object' },
      tools: [{ name: 'look', description: 'Looks', parameters: { type: 'object' } }],
      toolChoice: { name: 'look' },
    }),
    { signal: signal() },
  )
  const plain = {
    role: 'assistant',
    content: [
      { type: 'text', text: 'I look.' },
      { type: 'tool-call', toolCallId: 'c', toolName: 'look', input: {} },
    ],
  }
  expect(calls).toMatchObject([
    {
      prompt: [
        { role: 'system', content: 'Be brief' },
        {
          role: 'user',
          content: [
            { type: 'file', filename: 'a.png', mediaType: 'image/png', data: { type: 'data', data: new Uint8Array([7]) } },
            { type: 'text', text: 'Hello' },
          ],
        },
        plain,
        {
          role: 'tool',
          content: [{ type: 'tool-result', toolCallId: 'c', output: { type: 'error-text', value: 'nothing there' } }],
        },
        { role: 'assistant', content: blocks },
        plain,
        { role: 'user', content: [{ type: 'text', text: 'And now?' }] },
      ],
      temperature: 0.5,
      maxOutputTokens: 9,
      topP: 0.9,
      seed: 3,
      reasoning: 'high',
      providerOptions: { acme: { fast: true } },
      responseFormat: { type: 'json', schema: { type: 'object' } },
      tools: [{ type: 'function', name: 'look', description: 'Looks', inputSchema: { type: 'object' } }],
      toolChoice: { type: 'tool', toolName: 'look' },
    },
  ])
})

test('a stream delivers text and reasoning in order, and one that ends without a word is cut', async () => {
  const start: readonly Part[] = [
    { type: 'stream-start', warnings: [] },
    { type: 'response-metadata', modelId: 'acme-1-0926' },
    { type: 'reasoning-start', id: 'r' },
    { type: 'reasoning-delta', id: 'r', delta: 'Hm. ' },
    { type: 'reasoning-end', id: 'r' },
    { type: 'text-start', id: 't' },
    { type: 'text-delta', id: 't', delta: 'Blue' },
    { type: 'text-delta', id: 't', delta: '.' },
  ]
  const run = async (parts: readonly Part[]) => {
    const heard: string[] = []
    const answer = await fromAiSdk(createModel([], parts).model, { id: 'acme' }).generate(ask(), {
      signal: signal(),
      onDelta: (text) => heard.push(text),
      onReasoning: (text) => heard.push(`(${text})`),
    })
    return { answer, heard }
  }
  const { answer, heard } = await run([...start, { type: 'finish', finishReason: STOP, usage: USAGE }])
  expect(heard).toEqual(['(Hm. )', 'Blue', '.'])
  expect(answer).toMatchObject({ text: 'Blue.', reasoningText: 'Hm. ', model: 'acme-1-0926', usage: { outputTokens: 40 } })
  const interrupted: Part = { type: 'finish', finishReason: { unified: 'interrupted', raw: undefined }, usage: USAGE }
  for (const parts of [start, [...start, interrupted]]) {
    const error = await rejection(run(parts))
    expect(error).toMatchObject({ code: 'PROVIDER_STREAM_CUT' })
    expect(callFactsOf(error)).toMatchObject({ generated: true, model: 'acme-1-0926' })
  }
})

test('models of specifications 2 and 3 answer too, with their own forms of usage and finish', async () => {
  const v3: LanguageModelV3 = {
    specificationVersion: 'v3',
    provider: 'acme',
    modelId: 'old',
    supportedUrls: {},
    doGenerate: async () => ({
      content: [{ type: 'text', text: 'three' }],
      finishReason: { unified: 'length', raw: 'max' },
      usage: USAGE,
      warnings: [],
    }),
    doStream: () => Promise.reject(new Error('not used')),
  }
  const v2: LanguageModelV2 = {
    ...v3,
    specificationVersion: 'v2',
    doGenerate: async () => ({
      content: [{ type: 'text', text: 'two' }],
      finishReason: 'tool-calls',
      usage: { inputTokens: 4, outputTokens: 2, totalTokens: 6, cachedInputTokens: 1 },
      warnings: [{ type: 'unsupported-setting', setting: 'topP' }],
    }),
    doStream: () => Promise.reject(new Error('not used')),
  }
  const provider = fromAiSdk((name) => (name === 'two' ? v2 : v3), { id: 'acme' })
  expect(await provider.generate(ask({ model: 'three' }), { signal: signal() })).toMatchObject({
    text: 'three',
    finishReason: 'length',
    usage: { inputTokens: 100 },
  })
  expect(await provider.generate(ask({ model: 'two' }), { signal: signal() })).toMatchObject({
    text: 'two',
    finishReason: 'tool_calls',
    usage: { inputTokens: 4, cachedInputTokens: 1, outputTokens: 2, totalTokens: 6, source: 'reported' },
    notes: ['unsupported-setting "topP"'],
  })
})

test('a model that does not heed its signal is left within 100 ms of an abort', async () => {
  const hanging: LanguageModelV4 = { ...createModel([]).model, doGenerate: () => new Promise(() => {}) }
  const controller = new AbortController()
  const reason = new Error('enough')
  const pending = rejection(fromAiSdk(hanging, { id: 'acme' }).generate(ask(), { signal: controller.signal }))
  const abortedAtMs = performance.now()
  controller.abort(reason)
  expect(await pending).toBe(reason)
  expect(performance.now() - abortedAtMs).toBeLessThan(100)
})

test('a price of its own is the cost of every answer', async () => {
  const { model } = createModel([{ type: 'text', text: 'x' }])
  const priced = fromAiSdk(model, {
    id: 'acme',
    price: { inputPerMillion: 1_000, outputPerMillion: 10_000, cachedInputPerMillion: 0 },
  })
  expect((await priced.generate(ask(), { signal: signal() })).providerCostUsd).toBeCloseTo(0.07 + 0.4, 6)
  expect([priced.vendor, fromAiSdk(() => model, { id: 'other' }).vendor]).toEqual(['acme', 'other'])
})

test('a stream that comes after the abort is closed, and nothing of it is delivered', async () => {
  const { model } = createModel([])
  const reason = new Error('cancelled')
  const controller = new AbortController()
  const chunks: string[] = []
  let open: (stream: ReadableStream<Part>) => void = () => {}
  const late: LanguageModelV4 = {
    ...model,
    doStream: () =>
      new Promise((resolve) => {
        open = (stream) => resolve({ stream })
      }),
  }
  const asked = rejection(
    fromAiSdk(late, { id: 'acme' }).generate(ask(), { signal: controller.signal, onDelta: (text) => chunks.push(text) }),
  )
  await new Promise(setImmediate)
  controller.abort(reason)
  expect(await asked).toBe(reason)
  const closed = new Promise((resolve) => {
    open(
      new ReadableStream(
        {
          pull(stream) {
            stream.enqueue({ type: 'text-start', id: '1' })
            stream.enqueue({ type: 'text-delta', id: '1', delta: 'late' })
            stream.enqueue({ type: 'text-end', id: '1' })
            stream.close()
            resolve('read')
          },
          cancel: () => resolve('closed'),
        },
        { highWaterMark: 0 },
      ),
    )
  })
  expect(await closed).toBe('closed')
  expect(chunks).toEqual([])
})
