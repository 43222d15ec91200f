import { readUIMessageStream, type UIMessage } from 'ai'
import { expect, onTestFinished, test } from 'vitest'
import * as z from 'zod'
import {
  type FlowDataParts,
  type FlowMessageMetadata,
  type FlowUIMessageChunk,
  toUIMessageStream,
  toUIMessageStreamResponse,
  type UIMessageStreamOptions,
} from '../../src/ai-sdk.ts'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import type { WireUpdate } from '../../src/protocol/update.ts'
import { createScriptedProvider, type ScriptedReplies } from '../../src/providers/scripted.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

type FlowMessage = UIMessage<FlowMessageMetadata, FlowDataParts>
const USER = 'ada'
const USAGE = { inputTokens: 10, outputTokens: 5, totalTokens: 15, source: 'reported' } as const
const TWO_STEPS: FlowDefinitionInput = {
  name: 'two steps',
  type: 'sequential',
  steps: [
    { id: 'draft', model: 'scripted/m', action: 'generate', prompt: 'original' },
    { id: 'answer', model: 'scripted/m', action: 'refine', prompt: 'Mend: {{ steps.draft.output }}' },
  ],
}

async function open(replies: ScriptedReplies) {
  const provider = createScriptedProvider({ replies })
  const polyphony = await openTestPolyphony({
    providers: { scripted: provider },
    prices: { 'scripted/m': { inputPerMillion: 1_000, outputPerMillion: 2_000 } },
    retry: { baseDelayMs: 0, maxDelayMs: 0 },
  })
  onTestFinished(() => polyphony.close())
  const { conversations, orchestrator } = polyphony
  const thread = await conversations.createThread(USER)
  return {
    polyphony,
    provider,
    thread,
    async start(definition: FlowDefinitionInput, options: UIMessageStreamOptions = {}) {
      const flow = await orchestrator.createFlow(thread.id, USER, definition)
      await orchestrator.startFlow(flow.id, USER, { input: 'hi', streaming: true })
      const answerSteps = await orchestrator.answerSteps(flow.definition)
      const stream = () =>
        toUIMessageStream((signal) => orchestrator.streamFlow(flow.id, USER, { signal }), { answerSteps, ...options })
      return { flowId: flow.id, stream }
    },
  }
}

async function readAll(stream: ReadableStream<FlowUIMessageChunk>): Promise<FlowUIMessageChunk[]> {
  const chunks: FlowUIMessageChunk[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return chunks
}

/** What a page has at the end, and the error that it was told. */
async function readMessage(stream: ReadableStream<FlowUIMessageChunk>) {
  const errors: string[] = []
  let message: FlowMessage | undefined
  const options = { stream, onError: (error: unknown) => void errors.push(String(error)) }
  for await (const state of readUIMessageStream<FlowMessage>(options)) message = state
  return { message, errors, parts: message?.parts ?? [] }
}
const textOf = (parts: FlowMessage['parts']) => parts.flatMap((part) => (part.type === 'text' ? part.text : []))
const stepsOf = (parts: FlowMessage['parts']) => parts.flatMap((part) => (part.type === 'data-step' ? part.data : []))

test('a flow is a message of the AI SDK: the answer is its text, its steps are data, usage and cost its metadata', async () => {
  const { start } = await open((_, index) => ({ chunks: index === 0 ? ['a ', 'draft'] : ['the ', 'answer'], usage: USAGE }))
  const { flowId, stream } = await start(TWO_STEPS)
  const chunks = await readAll(stream())
  expect(chunks.flatMap((chunk) => (chunk.type === 'text-delta' ? chunk.delta : []))).toEqual(['the ', 'answer'])

  const { message, parts } = await readMessage(stream())
  expect(message).toMatchObject({ id: flowId, role: 'assistant' })
  expect(message?.metadata).toEqual({
    flowId,
    status: 'COMPLETED',
    simulated: false,
    usage: { inputTokens: 20, outputTokens: 10, totalTokens: 30, source: 'reported' },
    costUsd: 0.04,
    unpricedSteps: 0,
  })
  expect(textOf(parts)).toEqual(['the answer'])
  expect(stepsOf(parts)).toMatchObject([
    { stepId: 'draft', status: 'SUCCESS', output: 'a draft', costUsd: 0.02 },
    { stepId: 'answer', status: 'SUCCESS' },
  ])
  expect(stepsOf(parts)[1]).not.toHaveProperty('output')
  expect(parts.find((part) => part.type === 'data-flow')).toMatchObject({ data: { name: 'two steps', status: 'COMPLETED' } })
})

test('the same flow gives the same chunks again, and without its answer steps the text comes whole at the end', async () => {
  const { start } = await open((_, index) => ({ chunks: ['part ', String(index)] }))
  const { stream } = await start(TWO_STEPS)
  await readAll(stream())
  expect(await readAll(stream())).toEqual(await readAll(stream()))
  const late = await readAll((await start(TWO_STEPS, { answerSteps: [] })).stream())
  expect(late.flatMap((chunk) => (chunk.type === 'text-delta' ? chunk.delta : []))).toEqual(['part 3'])
})

test('other texts are data, reasoning or nothing, as asked', async () => {
  const { start } = await open(['draft', 'answer', 'draft', 'answer', 'draft', 'answer'])
  const seen = []
  for (const otherText of ['data', 'reasoning', 'none'] as const) {
    const { parts } = await readMessage((await start(TWO_STEPS, { otherText })).stream())
    const reasoning = parts.flatMap((part) => (part.type === 'reasoning' ? part.text : []))
    seen.push({ reasoning, outputs: stepsOf(parts).map(({ output }) => output), text: textOf(parts) })
  }
  expect(seen).toEqual([
    { reasoning: [], outputs: ['draft', undefined], text: ['answer'] },
    { reasoning: ['draft'], outputs: [undefined, undefined], text: ['answer'] },
    { reasoning: [], outputs: [undefined, undefined], text: ['answer'] },
  ])
})

test('the value of a structured answer, reasoning, sources and unknown costs are shown as what they are', async () => {
  const { start } = await open([
    {
      text: '{"city":"Paris"}',
      reasoningText: 'It is the capital.',
      sources: [
        { kind: 'citation', url: 'https://example.com/paris', title: 'Paris' },
        { kind: 'citation', url: 'https://example.com/paris' },
        { kind: 'search_result', title: 'An atlas' },
        { kind: 'citation', url: 'javascript:alert(1)', title: 'A trap' },
      ],
      usage: USAGE,
    },
  ])
  const { stream } = await start({
    name: 'city',
    type: 'sequential',
    steps: [{ id: 'find', model: 'scripted/unpriced', action: 'generate', outputSchema: z.object({ city: z.string() }) }],
  })
  const { message, parts } = await readMessage(stream())
  expect(message?.metadata).toMatchObject({ costUsd: null, unpricedSteps: 1 })
  expect(parts.find((part) => part.type === 'data-answer')).toMatchObject({ data: { stepId: 'find', value: { city: 'Paris' } } })
  expect(stepsOf(parts)).toMatchObject([{ parsed: { city: 'Paris' }, costUsd: null }])
  expect(parts.filter(({ type }) => type.startsWith('source-'))).toMatchObject([
    { type: 'source-url', url: 'https://example.com/paris', title: 'Paris' },
    { type: 'source-document', title: 'An atlas' },
    { type: 'source-document', title: 'A trap' },
  ])
})

test('calls of tools are parts that the page neither runs nor waits for', async () => {
  const provider = createScriptedProvider({
    replies: [
      { text: 'Let me see.', toolCalls: [{ id: 'a', name: 'price', arguments: '{"sku":"x"}' }] },
      { text: '', toolCalls: [{ id: 'a', name: 'price', arguments: '{"sku":"bad"}' }] },
      'It costs 5.',
    ],
  })
  const polyphony = await openTestPolyphony({
    providers: { scripted: provider },
    functions: {
      price: {
        description: 'Price of an item',
        input: z.object({ sku: z.string() }),
        run: ({ sku }: { readonly sku: string }) => {
          if (sku === 'bad') throw new Error('no such item')
          return '5'
        },
      },
    },
  })
  onTestFinished(() => polyphony.close())
  const { conversations, orchestrator } = polyphony
  const thread = await conversations.createThread(USER)
  const flow = await orchestrator.createFlow(thread.id, USER, {
    name: 'prices',
    type: 'sequential',
    steps: [{ id: 'answer', model: 'scripted/m', action: 'generate', tools: ['function/price'] }],
  })
  await orchestrator.startFlow(flow.id, USER, { input: 'What does x cost?', streaming: true })
  const { parts } = await readMessage(toUIMessageStream(orchestrator.streamFlow(flow.id, USER)))
  expect(parts.filter((part) => part.type === 'dynamic-tool')).toMatchObject([
    { toolName: 'function/price', state: 'output-available', input: { sku: 'x' }, output: '5', providerExecuted: true },
    { toolName: 'function/price', state: 'output-error', input: { sku: 'bad' }, providerExecuted: true },
  ])
  expect(textOf(parts)).toEqual(['It costs 5.'])
})

test('a failed flow ends with its error in the words for users, after the state of its steps', async () => {
  const { start } = await open(['draft', new OrchestratorError('PROVIDER_REJECTED', 'The model refused the request')])
  const { stream } = await start(TWO_STEPS, { onError: ({ code }) => `Sorry: ${code}` })
  const chunks = await readAll(stream())
  expect(chunks.at(-1)).toEqual({ type: 'error', errorText: 'Sorry: PROVIDER_REJECTED' })
  const { parts, errors } = await readMessage(stream())
  expect(errors).toEqual(['Error: Sorry: PROVIDER_REJECTED'])
  expect(stepsOf(parts)).toMatchObject([
    { stepId: 'draft', status: 'SUCCESS' },
    { stepId: 'answer', status: 'FAILED', error: { code: 'PROVIDER_REJECTED', message: 'Sorry: PROVIDER_REJECTED' } },
  ])
})

test('a cancelled flow ends with abort, and cancelling the stream leaves the flow running', async () => {
  const { start, polyphony, provider } = await open([{ chunks: ['first'], hang: true }])
  const { flowId, stream } = await start(TWO_STEPS)
  const left = stream().getReader()
  expect((await left.read()).value).toMatchObject({ type: 'start' })
  const waiting = readAll(stream())
  await left.cancel()
  expect((await polyphony.orchestrator.getFlowStatus(flowId, USER)).status).toBe('RUNNING')
  await expect.poll(() => provider.requests.length).toBe(1)
  await polyphony.orchestrator.cancelFlow(flowId, USER)
  expect((await waiting).at(-1)).toMatchObject({ type: 'abort' })
})

test('updates that break off are an error without the words of the fault', async () => {
  async function* broken(): AsyncGenerator<never> {
    yield* []
    throw new Error('connect ECONNREFUSED 10.0.0.7')
  }
  expect(await readAll(toUIMessageStream(broken()))).toEqual([
    { type: 'error', errorText: 'Internal error; the log of the server says more' },
  ])
})

test('a slow reader asks for no update before the chunks of the last one are read', async () => {
  let asked = 0
  async function* updates(): AsyncGenerator<FlowUpdate> {
    for (let seq = 1; ; seq++) {
      asked = seq
      const common = { seq, flowId: 'f', stepId: 'a', path: 'a', iteration: 1, timestamp: new Date(0) }
      yield { ...common, type: 'step_progress', data: { delta: String(seq) } }
    }
  }
  const reader = toUIMessageStream(updates(), { answerSteps: [{ stepId: 'a', iteration: 1 }] }).getReader()
  expect(asked).toBe(0)
  expect((await reader.read()).value).toMatchObject({ type: 'text-start' })
  expect((await reader.read()).value).toMatchObject({ type: 'text-delta', delta: '1' })
  expect(asked).toBe(1)
  await reader.cancel()
})

test('updates of a server, as JSON, give the same chunks', async () => {
  const { start, polyphony } = await open([
    { text: 'draft', usage: USAGE },
    { text: 'answer', usage: USAGE },
  ])
  const { flowId, stream } = await start(TWO_STEPS)
  const chunks = await readAll(stream())
  async function* asJson(): AsyncGenerator<WireUpdate> {
    for await (const update of polyphony.orchestrator.streamFlow(flowId, USER)) yield JSON.parse(JSON.stringify(update))
  }
  expect(await readAll(toUIMessageStream(asJson(), { answerSteps: [{ stepId: 'answer', iteration: 1 }] }))).toEqual(chunks)
})

test('the response is what useChat reads, and in a silence it is kept open', async () => {
  let release: (() => void) | undefined
  const silence = new Promise<void>((resolve) => {
    release = resolve
  })
  async function* silent(): AsyncGenerator<never> {
    await silence
    yield* []
  }
  const response = toUIMessageStreamResponse(silent(), { heartbeatMs: 1, headers: { 'x-flow': 'f' } })
  expect(Object.fromEntries(response.headers)).toMatchObject({
    'content-type': 'text/event-stream',
    'x-vercel-ai-ui-message-stream': 'v1',
    'x-flow': 'f',
  })
  let text = ''
  for await (const part of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += part
    if (text.includes(': ping')) release?.()
  }
  expect(text.replaceAll(': ping\n\n', '')).toBe(
    'data: {"type":"error","errorText":"The stream of updates ended before the flow"}\n\ndata: [DONE]\n\n',
  )
})
