import { BadRequestError } from 'openai'
import { expect, test } from 'vitest'
import type { FlowDefinitionInput } from '../../../src/domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../../src/errors/orchestrator-error.ts'
import type { Provider } from '../../../src/providers/provider.ts'
import { rejection } from '../../support/caught.ts'
import { runServer } from '../running-server.ts'
import { type ModelServer, runModelServer, TWO_STEPS, USAGE, USER } from './model-server.ts'

const MODEL = 'flow/two steps'
const QUESTION = [{ role: 'user' as const, content: 'Why is the sky blue?' }]
const facts = (completion: object): Record<string, unknown> => ('polyphony' in completion ? Object(completion.polyphony) : {})

async function twoSteps(...answers: Parameters<typeof runModelServer>[0] & readonly unknown[]): Promise<ModelServer> {
  const server = await runModelServer(answers)
  await server.save(TWO_STEPS)
  return server
}

test('a completion is the answer of the last step, with usage and cost of all steps', async () => {
  const { openai, polyphony } = await twoSteps({ text: 'a draft', usage: USAGE }, { text: 'the answer', usage: USAGE })
  const { data, response } = await openai.chat.completions.create({ model: MODEL, messages: QUESTION }).withResponse()
  const flowId = String(facts(data).flow_id)
  expect(data).toMatchObject({
    id: `chatcmpl-${flowId}`,
    object: 'chat.completion',
    model: MODEL,
    choices: [
      { index: 0, message: { role: 'assistant', content: 'the answer', refusal: null }, logprobs: null, finish_reason: 'stop' },
    ],
    usage: {
      prompt_tokens: 20,
      completion_tokens: 10,
      total_tokens: 30,
      prompt_tokens_details: { cached_tokens: 8 },
      completion_tokens_details: { reasoning_tokens: 4 },
    },
    polyphony: { flow_id: flowId, cost_usd: 0.04, unpriced_steps: 0, simulated: false },
  })
  expect(response.headers.get('x-polyphony-flow-id')).toBe(flowId)
  expect(response.headers.get('x-polyphony-cost-usd')).toBe('0.04')
  const flow = await polyphony.orchestrator.getFlow(flowId, USER)
  expect(data.created).toBe(Math.floor(flow.createdAt.getTime() / 1_000))
  expect(flow.result).toMatchObject({ finalOutput: 'the answer', totalCost: 0.04 })
})

test('the conversation becomes a thread of the caller, and the last user message the prompt', async () => {
  const { openai, polyphony, provider } = await twoSteps('a draft', 'the answer')
  await polyphony.dataSharing.set(USER, 'scripted', { allowConversationHistory: true, allowCrossProviderContext: true })
  const completion = await openai.chat.completions.create({
    model: MODEL,
    messages: [
      { role: 'developer', content: 'Be brief.' },
      { role: 'user', content: 'My name is Ada.' },
      { role: 'assistant', content: [{ type: 'text', text: 'Hello Ada.' }] },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What is' },
          { type: 'text', text: 'my name?' },
        ],
      },
    ],
    metadata: { ticket: '42' },
  })
  const flow = await polyphony.orchestrator.getFlow(String(facts(completion).flow_id), USER)
  expect(flow).toMatchObject({ input: 'What is\nmy name?', metadata: { ticket: '42' } })
  const messages = await polyphony.conversations.getMessages(flow.threadId, USER)
  expect(messages.map(({ role, content }) => [role, content])).toEqual([
    ['system', 'Be brief.'],
    ['user', 'My name is Ada.'],
    ['assistant', 'Hello Ada.'],
    ['user', 'What is\nmy name?'],
    ['assistant', 'the answer'],
  ])
  expect(provider.requests[0]).toMatchObject({
    system: 'Be brief.',
    messages: [
      { role: 'user', content: 'My name is Ada.' },
      { role: 'assistant', content: 'Hello Ada.' },
      { role: 'user', content: 'What is\nmy name?' },
    ],
  })
  expect(facts(completion).withheld).toBeUndefined()
})

test('a system message after the prompt is an instruction, and the prompt is sent once', async () => {
  const { openai, polyphony, provider } = await twoSteps('a draft', 'the answer')
  await polyphony.dataSharing.set(USER, 'scripted', { allowConversationHistory: true, allowCrossProviderContext: true })
  const messages = [...QUESTION, { role: 'system' as const, content: 'Be brief.' }]
  await openai.chat.completions.create({ model: MODEL, messages })
  expect(provider.requests[0]).toMatchObject({ system: 'Be brief.', messages: QUESTION })
  expect(provider.requests[0]?.messages).toHaveLength(1)
})

test('withheld context is listed beside the answer', async () => {
  const { openai } = await twoSteps('a draft', 'the answer')
  const completion = await openai.chat.completions.create({
    model: MODEL,
    messages: [{ role: 'system', content: 'Be brief.' }, ...QUESTION],
  })
  expect(facts(completion).withheld).toEqual([{ kind: 'conversation_history', to: 'scripted', rule: 'no_policy' }])
})

test('a stream contains only the text of the answering step as it is written, and then the cost', async () => {
  const { openai, url, keyOf, save } = await runModelServer(() => ({
    text: 'one two three',
    chunks: ['one ', 'two ', 'three'],
    usage: USAGE,
  }))
  await save(TWO_STEPS)
  const stream = openai.chat.completions.stream({ model: MODEL, messages: QUESTION, stream_options: { include_usage: true } })
  const pieces: string[] = []
  stream.on('content', (delta) => pieces.push(delta))
  const final = await stream.finalChatCompletion()
  expect(pieces).toEqual(['one ', 'two ', 'three'])
  expect(final).toMatchObject({
    choices: [{ message: { content: 'one two three' }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 20, completion_tokens: 10, total_tokens: 30 },
    polyphony: { cost_usd: 0.04, simulated: false },
  })

  const raw = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await keyOf(USER)}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: MODEL, messages: QUESTION, stream: true }),
  })
  expect(raw.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
  expect(raw.headers.get('x-polyphony-flow-id')).toMatch(/^[\w-]{36}$/)
  const events = (await raw.text()).split('\n\n')
  expect(events.slice(-2)).toEqual(['data: [DONE]', ''])
  const chunks = events.slice(0, -2).map((event) => JSON.parse(event.replace(/^data: /, '')))
  expect(chunks.map(({ choices }) => choices[0])).toEqual([
    { index: 0, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null },
    ...['one ', 'two ', 'three'].map((content) => ({ index: 0, delta: { content }, logprobs: null, finish_reason: null })),
    { index: 0, delta: {}, logprobs: null, finish_reason: 'stop' },
  ])
  expect(new Set(chunks.map(({ id, object, model }) => `${id} ${object} ${model}`)).size).toBe(1)
  expect(chunks.some((chunk) => 'usage' in chunk)).toBe(false)
  expect(chunks.at(-1)).toMatchObject({ polyphony: { cost_usd: 0.04 } })
})

test('no draft is streamed if the answering step is known only at the end', async () => {
  const loop: FlowDefinitionInput = {
    name: 'loop',
    type: 'refinement',
    refinement: { maxIterations: 1, qualityThreshold: 1 },
    steps: [
      { id: 'draft', model: 'scripted/m', action: 'generate', prompt: 'original' },
      { id: 'judge', model: 'scripted/m', action: 'evaluate', prompt: 'judge {{ input }}' },
      { id: 'mend', model: 'scripted/m', action: 'refine', prompt: 'mend {{ input }}' },
    ],
  }
  const { openai, save } = await runModelServer(['the better draft', '{"score":0.9}', 'the worse draft', '{"score":0.1}'])
  await save(loop)
  const stream = openai.chat.completions.stream({ model: 'flow/loop', messages: QUESTION })
  const pieces: string[] = []
  stream.on('content', (delta) => pieces.push(delta))
  await stream.done()
  expect(pieces).toEqual(['the better draft'])
})

test('text that a fallback makes void is never streamed', async () => {
  let tries = 0
  const provider: Provider = {
    id: 'scripted',
    kind: 'scripted',
    vendor: 'scripted',
    simulated: false,
    async generate(request, { onDelta }) {
      tries++
      if (tries === 1) {
        onDelta?.('void words')
        throw new OrchestratorError('PROVIDER_STREAM_CUT', 'cut')
      }
      onDelta?.('the answer')
      return { text: 'the answer', finishReason: 'stop', model: request.model, usage: { source: 'unknown' }, notes: [] }
    },
  }
  const { polyphony, url } = await runServer({ simulator: false, providers: { scripted: provider }, retry: { baseDelayMs: 0 } })
  const thread = await polyphony.conversations.createThread('local')
  await polyphony.orchestrator.createFlow(thread.id, 'local', {
    name: 'restarts',
    type: 'sequential',
    steps: [{ id: 'a', model: 'scripted/m', action: 'generate', prompt: 'original', fallbackAfterFirstToken: true }],
  })
  const raw = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'flow/restarts', messages: QUESTION, stream: true }),
  })
  const text = await raw.text()
  expect(tries).toBe(2)
  expect(text).not.toContain('void words')
  expect(text).toContain('"content":"the answer"')
  expect(text).toContain('[DONE]')
})

test.each([
  ['length', 'length'],
  ['content_filter', 'content_filter'],
  ['other', 'stop'],
] as const)('an answer that ended by "%s" has finish_reason "%s"', async (finishReason, expected) => {
  const { openai } = await twoSteps('a draft', { text: 'the ans', finishReason })
  const { choices } = await openai.chat.completions.create({ model: MODEL, messages: QUESTION })
  expect(choices[0]).toMatchObject({ finish_reason: expected, message: { content: 'the ans' } })
})

test('a refusal of a model is reported as a refusal with its cost, streamed or not', async () => {
  const refused = { text: '', refusal: 'I will not.', finishReason: 'refusal' as const, usage: USAGE }
  const draft = { text: 'a draft', usage: USAGE }
  const { openai } = await twoSteps(draft, refused, draft, refused)
  const completion = await openai.chat.completions.create({ model: MODEL, messages: QUESTION })
  expect(completion).toMatchObject({
    choices: [{ message: { content: null, refusal: 'I will not.' }, finish_reason: 'stop' }],
    usage: { total_tokens: 30 },
    polyphony: { cost_usd: 0.04 },
  })
  const streamed = await openai.chat.completions.stream({ model: MODEL, messages: QUESTION }).finalChatCompletion()
  expect(streamed.choices[0]?.message.refusal).toBe('I will not.')
})

test('without a price there is no cost, and unknown tokens are not 0', async () => {
  const { openai, save } = await runModelServer(['no figures', { text: 'figures without a price', usage: USAGE }])
  await save({ ...TWO_STEPS, name: 'free', steps: [{ id: 'a', model: 'scripted/unheard-of', action: 'generate' }] })
  const unknown = await openai.chat.completions.create({ model: 'flow/free', messages: QUESTION })
  expect(unknown.usage).toBeUndefined()
  const { data, response } = await openai.chat.completions.create({ model: 'flow/free', messages: QUESTION }).withResponse()
  expect(data.usage?.total_tokens).toBe(15)
  expect(facts(data)).toMatchObject({ unpriced_steps: 1, simulated: false })
  expect(facts(data)).not.toHaveProperty('cost_usd')
  expect(response.headers.get('x-polyphony-cost-usd')).toBeNull()
})

test('a simulated answer is marked and has no cost', async () => {
  const { send, polyphony } = await runServer()
  await polyphony.dataSharing.set('local', 'anthropic', { allowCrossProviderContext: true })
  const { json, headers, status } = await send('POST', '/v1/chat/completions', {
    body: { model: 'flow/critique', messages: QUESTION },
  })
  expect(status).toBe(200)
  expect(json).toMatchObject({ polyphony: { simulated: true, unpriced_steps: 0 }, usage: { total_tokens: expect.any(Number) } })
  expect(facts(json)).not.toHaveProperty('cost_usd')
  expect(headers.get('x-polyphony-cost-usd')).toBeNull()
})

test("a template shares the conversation with its steps within the user's policies; without a conversation it is unchanged", async () => {
  const { send, polyphony } = await runServer()
  await polyphony.dataSharing.set('local', 'anthropic', { allowCrossProviderContext: true, allowConversationHistory: true })
  const history = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Hello' },
    { role: 'assistant', content: 'Hi' },
  ]
  const [alone, after] = await Promise.all(
    [[], history].map((before) =>
      send('POST', '/v1/chat/completions', { body: { model: 'flow/critique', messages: [...before, ...QUESTION] } }),
    ),
  )
  const policyOf = async (json: object = {}) =>
    (await polyphony.orchestrator.getFlow(String(facts(json).flow_id), 'local')).definition.contextPolicy
  expect(await policyOf(alone?.json)).toMatchObject({ shareConversationHistory: false, preserveSystemPrompts: false })
  expect(await policyOf(after?.json)).toMatchObject({ shareConversationHistory: true, preserveSystemPrompts: true })
  expect(facts(after?.json ?? {}).withheld).toEqual([{ kind: 'conversation_history', to: 'openai', rule: 'no_policy' }])
})

test('unusable fields of agent frameworks are ignored', async () => {
  const { openai } = await twoSteps('a draft', 'the answer')
  const completion = await openai.chat.completions.create({
    model: MODEL,
    messages: [{ role: 'user', content: 'hi', name: 'ada' }],
    tools: [],
    n: 1,
    temperature: 0.2,
    top_p: 0.9,
    max_tokens: 5,
    max_completion_tokens: 5,
    stop: ['\n'],
    seed: 1,
    logprobs: true,
    tool_choice: 'none',
    response_format: { type: 'text' },
    modalities: ['text'],
    store: true,
    reasoning_effort: 'low',
    user: 'ada',
    audio: null,
    ...{ unheard_of: { deep: [1] } },
  })
  expect(completion.choices[0]?.message.content).toBe('the answer')
})

test.each([
  ['no tools', { tools: [] }],
  ['tools that are null', { tools: null, tool_choice: null, parallel_tool_calls: null }],
  ['no functions', { functions: [], function_call: 'none' }],
  ['functions that none may be called of', { functions: [{ name: 'f' }], function_call: 'none' }],
  ['no options of streams', { stream_options: null }],
  ['empty options of streams', { stream: false, stream_options: {} }],
  ['bounds of reasoning models', { max_completion_tokens: 100, reasoning_effort: 'medium', verbosity: 'low' }],
  ['a tier of service', { service_tier: 'auto' }],
  ['the modality of text', { modalities: ['text'], audio: null }],
  ['no metadata', { metadata: {}, store: false }],
  ['metadata that are null', { metadata: null, store: null, user: null, n: null, stop: null, seed: null }],
  ['no prediction', { prediction: null, logprobs: false, top_logprobs: null }],
  ['no search', { web_search_options: null }],
  ['the form of text', { response_format: { type: 'text' } }],
  ['no form', { response_format: null }],
  [
    'fields of other programs',
    { chat_id: 'x', session_id: 'y', options: { num_ctx: 1 }, keep_alive: '5m', enable_thinking: false },
  ],
  ['a message with a name', { messages: [{ role: 'user', content: 'hi', name: 'ada' }] }],
  [
    'an answer without calls',
    {
      messages: [
        { role: 'system', content: null },
        { role: 'user', content: 'hi' },
        { role: 'assistant', content: 'hello', tool_calls: [], refusal: null, annotations: [], audio: null, function_call: null },
        { role: 'assistant', content: null, tool_calls: null, reasoning_content: 'hm' },
        { role: 'user', content: [{ type: 'text', text: 'Why?', cache_control: { type: 'ephemeral' } }] },
      ],
    },
  ],
])('a chat program that sends %s gets its answer', async (_, more) => {
  const { send, save, keyOf } = await runModelServer(() => 'the answer')
  await save(TWO_STEPS)
  const { status, json } = await send('POST', '/v1/chat/completions', {
    key: await keyOf(USER),
    body: { model: MODEL, messages: QUESTION, ...more },
  })
  expect({ status, json }).toMatchObject({ status: 200, json: { choices: [{ message: { content: 'the answer' } }] } })
})

const tool = { type: 'function' as const, function: { name: 'f', parameters: {} } }
const custom = { type: 'custom' as const, custom: { name: 'f' } }
const PNG = { type: 'image_url' as const, image_url: { url: 'https://example.com/a.png' } }
test.each([
  ['a tool that OpenAI runs', { tools: [custom] }, 'unsupported_value', 'tools[0].type'],
  ['a tool without a name', { tools: [{ ...tool, function: { name: ' ' } }] }, 'invalid_value', 'tools[0].function.name'],
  ['a tool twice', { tools: [tool, tool] }, 'invalid_value', 'tools'],
  ['functions', { functions: [{ name: 'f' }] }, 'unsupported_parameter', 'functions'],
  ['several answers', { n: 2 }, 'unsupported_value', 'n'],
  ['JSON', { response_format: { type: 'json_object' as const } }, 'unsupported_parameter', 'response_format'],
  ['speech', { modalities: ['text' as const, 'audio' as const] }, 'unsupported_value', 'modalities'],
  ['a search', { web_search_options: {} }, 'unsupported_parameter', 'web_search_options'],
  ['an image', { messages: [{ role: 'user' as const, content: [PNG] }] }, 'unsupported_value', 'messages[0].content[0]'],
  [
    'a result for a call that no flow has made',
    { messages: [...QUESTION, { role: 'tool' as const, tool_call_id: 'x', content: '1' }] },
    'invalid_value',
    'messages[1]',
  ],
  ['no message of the user', { messages: [{ role: 'system' as const, content: 'hi' }] }, 'invalid_value', 'messages'],
  ['an empty message', { messages: [{ role: 'user' as const, content: ' ' }] }, 'invalid_value', 'messages'],
])('%s is refused with the name of the field, before anything is stored', async (_, more, code, param) => {
  const { openai, polyphony } = await twoSteps()
  const error = await rejection(openai.chat.completions.create({ model: MODEL, messages: QUESTION, ...more }))
  expect(error).toBeInstanceOf(BadRequestError)
  expect(error).toMatchObject({ status: 400, type: 'invalid_request_error', code, param })
  expect(await polyphony.conversations.listThreads(USER)).toHaveLength(1)
})

test('a repeated request with the same Idempotency-Key gets the first answer, and no second flow is paid for', async () => {
  const { openai, provider } = await twoSteps('a draft', { text: 'the answer', usage: USAGE })
  const ask = () =>
    openai.chat.completions
      .create({ model: MODEL, messages: QUESTION }, { headers: { 'idempotency-key': 'once' } })
      .withResponse()
  const first = await ask()
  const second = await ask()
  expect(second.data).toEqual(first.data)
  expect(second.response.headers.get('idempotency-replayed')).toBe('true')
  expect(second.response.headers.get('x-polyphony-flow-id')).toBe(first.response.headers.get('x-polyphony-flow-id'))
  expect(provider.requests).toHaveLength(2)
})
